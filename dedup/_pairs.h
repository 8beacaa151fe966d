/* Pairs of rows: who meets, and how similar two sets are.  The inner loops of `_kernel.c`, which alone
 * includes this file, after `_shingles.h`. */

/* ---------------------------------------------------------------------- candidates, band after band */

static inline uint32_t band_key(const uint8_t *signature, size_t at, size_t rows)
{
    uint64_t key = 0;
    for (size_t i = 0; i < rows; i += 8)
        key = mix(key ^ load(signature + at + i, rows - i < 8 ? rows - i : 8) ^ i * SALT);
    return (uint32_t)(mix(key) >> 32);
}

/* Stable sort of (key << 32 | index) by key. */
static void radix(uint64_t *items, uint64_t *spare, size_t n)
{
    static const int shifts[3] = {32, 43, 54}, widths[3] = {11, 11, 10};
    for (int pass = 0; pass < 3; pass++) {
        size_t counts[2048] = {0}, sum = 0;
        const uint64_t mask = (1u << widths[pass]) - 1;
        for (size_t i = 0; i < n; i++)
            counts[items[i] >> shifts[pass] & mask]++;
        for (uint64_t v = 0; v <= mask; v++) {
            const size_t here = counts[v];
            counts[v] = sum;
            sum += here;
        }
        for (size_t i = 0; i < n; i++)
            spare[counts[items[i] >> shifts[pass] & mask]++] = items[i];
        uint64_t *swap = items;
        items = spare;
        spare = swap;
    }
    memcpy(spare, items, 8 * n); /* an odd number of passes ended in the other buffer */
}

#define MOST_DOUBTS 128 /* unlikely pairs that one row may propose: beyond, it is taken to be different */
#define LIKELY 4       /* so many likely partners set a row aside as readily as a certain one */

/* Triples (leader, row, equal bins), each pair once: `index` is a hash table of the places of pairs, from 1. */
typedef struct {
    uint32_t *items, *index;
    size_t n, room, mask;
} Pairs;

static size_t pairs_slot(const Pairs *p, uint32_t leader, uint32_t row)
{
    size_t slot = (size_t)mix((uint64_t)leader << 32 | row) & p->mask;
    while (p->index[slot] &&
           (p->items[3 * (p->index[slot] - 1)] != leader || p->items[3 * (p->index[slot] - 1) + 1] != row))
        slot = (slot + 1) & p->mask;
    return slot;
}

static int pairs_grow(Pairs *p)
{
    const size_t room = p->room ? 2 * p->room : 1 << 12;
    uint32_t *items = realloc(p->items, 3 * room * sizeof *items), *index = calloc(2 * room, sizeof *index);
    if (items)
        p->items = items;
    if (!items || !index || room > UINT32_MAX / 2) {
        free(index);
        return 0;
    }
    free(p->index);
    p->index = index;
    p->room = room;
    p->mask = 2 * room - 1;
    for (size_t i = 0; i < p->n; i++)
        p->index[pairs_slot(p, items[3 * i], items[3 * i + 1])] = (uint32_t)i + 1;
    return 1;
}

static int is_known(const uint64_t *keys, size_t n, uint64_t key)
{
    size_t low = 0, high = n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (keys[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && keys[low] == key;
}

typedef struct {
    const uint8_t *signatures, *alive, *fresh;
    const int64_t *slots;
    const uint64_t *known;
    size_t n, n_known, leaders;
    unsigned low, middle, high, patience;
    uint8_t *out, *doubts, *bets;
    Pairs pairs;
} Collision;

/* One bucket: its rows, best first, each against the leaders, the rows that matched none before them. */
static int collide_bucket(Collision *c, const uint64_t *bucket, size_t n, uint32_t *leaders)
{
    const unsigned enough = LIKELY * (n > c->leaders ? 1 : c->patience); /* no patience in giant buckets */
    size_t led = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t row = (uint32_t)bucket[i];
        const uint8_t *signature = c->signatures + c->slots[row] * K;
        for (size_t l = 0; l < led && !c->out[row]; l++) {
            const uint32_t leader = leaders[l];
            if (!c->fresh[row] && !c->fresh[leader])
                continue;
            const unsigned same = same_bins(c->signatures + c->slots[leader] * K, signature);
            if (same < c->low)
                continue;
            if (same < c->high && is_known(c->known, c->n_known, (uint64_t)leader << 32 | row))
                continue;
            if (c->pairs.n == c->pairs.room && !pairs_grow(&c->pairs))
                return 0;
            const size_t slot = pairs_slot(&c->pairs, leader, row);
            if (c->pairs.index[slot])
                continue;
            if (same >= c->middle)
                c->out[row] = (c->bets[row] += same >= c->high ? LIKELY : 1) >= enough;
            else if (++c->doubts[row] > MOST_DOUBTS) {
                c->doubts[row] = MOST_DOUBTS;
                continue;
            }
            uint32_t *const pair = c->pairs.items + 3 * c->pairs.n++;
            pair[0] = leader;
            pair[1] = row;
            pair[2] = same;
            c->pairs.index[slot] = (uint32_t)c->pairs.n;
        }
        if (!c->out[row] && led < c->leaders)
            leaders[led++] = row;
    }
    return 1;
}

/* Sort the (key << 32 | row) of one band and let its buckets meet. */
static int collide_band(Collision *c, uint64_t *items, uint64_t *spare, size_t n, uint32_t *leaders)
{
    radix(items, spare, n);
    for (size_t start = 0, end; start < n; start = end) {
        for (end = start + 1; end < n && items[end] >> 32 == items[start] >> 32; end++)
            ;
        if (end - start > 1 && !collide_bucket(c, items + start, end - start, leaders))
            return 0;
    }
    return 1;
}

#define MAP (1 << 13) /* bytes of a band map: one bit for each key of 16 bits that a fresh row has */

/* The (band, key << 32 | row) of all rows that are alive and have a key in common with a fresh row, as far as
 * the maps tell; in order of rows.  How many, or SIZE_MAX if memory is short. */
static size_t touched(const Collision *c, uint8_t *maps, size_t bands, size_t rows, uint64_t **items, uint8_t **band)
{
    size_t n = 0, room = 0;
    for (int marking = 1; marking >= 0; marking--)
        for (size_t i = 0; i < c->n; i++) {
            if (!c->alive[i] || (marking && !c->fresh[i]))
                continue;
            for (size_t b = 0; b < bands; b++) {
                const uint32_t key = band_key(c->signatures + c->slots[i] * K, b * rows, rows);
                uint8_t *const byte = maps + b * MAP + (key >> 19), bit = (uint8_t)(1 << (key >> 16 & 7));
                if (marking)
                    *byte |= bit;
                else if (*byte & bit) {
                    if (n == room) {
                        room = room ? 2 * room : 1 << 14;
                        uint64_t *const more = realloc(*items, 8 * room);
                        *items = more ? more : *items;
                        uint8_t *const bytes = realloc(*band, room);
                        *band = bytes ? bytes : *band;
                        if (!more || !bytes)
                            return SIZE_MAX;
                    }
                    (*band)[n] = (uint8_t)b;
                    (*items)[n++] = (uint64_t)key << 32 | i;
                }
            }
        }
    return n;
}

/* All bands, one after the other; rows that were set aside in one are left out of the next. */
static int collide_all(Collision *c, size_t bands, size_t rows)
{
    size_t fresh = 0, n = 0;
    for (size_t i = 0; i < c->n; i++)
        fresh += c->alive[i] && c->fresh[i];
    const int few = fresh < c->n / 16; /* then most rows need not be sorted at all */
    uint64_t *items = NULL, *spare = NULL, *mine = malloc(8 * c->n + 8);
    uint32_t *leaders = malloc(sizeof *leaders * c->leaders);
    uint8_t *band = NULL, *maps = few ? calloc(bands, MAP) : NULL;
    int enough = mine && leaders && (maps || !few);
    if (enough && few)
        n = touched(c, maps, bands, rows, &items, &band);
    spare = malloc(8 * c->n + 8);
    enough = enough && spare && n != SIZE_MAX;
    for (size_t b = 0; enough && b < bands; b++) {
        size_t m = 0;
        for (size_t i = 0; few && i < n; i++)
            if (band[i] == b && !c->out[(uint32_t)items[i]])
                mine[m++] = items[i];
        for (size_t i = 0; !few && i < c->n; i++)
            if (c->alive[i] && !c->out[i])
                mine[m++] = (uint64_t)band_key(c->signatures + c->slots[i] * K, b * rows, rows) << 32 | i;
        enough = collide_band(c, mine, spare, m, leaders);
    }
    free(items);
    free(spare);
    free(mine);
    free(leaders);
    free(band);
    free(maps);
    return enough;
}

/* ---------------------------------------------------------------------------------- exact similarity */

typedef struct {
    uint64_t *keys, salt;
    uint32_t *stamps, tick;
    size_t mask, held;
    int shift;
} Set;

#define PART (1u << 20) /* shingles in the table at a time; larger sets are compared in parts of the hash space */

/* Count the distinct shingles among `n` that lie in one part of the hash space, and those of them that
 * the other side (stamp tick - 1) has.  Parts and slots are salted with an address, so that nobody can
 * write a text whose shingles all meet in one place; the counts do not depend on it.  0 if it is full. */
static int intersect(Set *set, const uint64_t *x, size_t n, uint64_t part, uint64_t parts, uint64_t *distinct,
                     uint64_t *common)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t place = x[i] * set->salt;
        if (parts > 1 && (place & UINT32_MAX) % parts != part)
            continue;
        size_t slot = (size_t)(place >> set->shift);
        while (set->stamps[slot] >= set->tick - 1 && set->keys[slot] != x[i])
            slot = (slot + 1) & set->mask;
        if (set->stamps[slot] == set->tick)
            continue;
        if (set->stamps[slot] == set->tick - 1)
            *common += 1;
        else if (++set->held > set->mask / 8 * 7)
            return 0;
        *distinct += 1;
        set->stamps[slot] = set->tick;
        set->keys[slot] = x[i];
    }
    return 1;
}
