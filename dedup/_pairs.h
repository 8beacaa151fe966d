/* Pairs of rows: who meets, and how similar two sets are.  The inner loops of `_kernel.c`, which alone
 * includes this file, after `_shingles.h`. */

/* ---------------------------------------------------------------------- candidates, band after band */

static inline uint32_t band_key(const uint8_t *signature, long long at, long long rows)
{
    uint64_t key = 0;
    for (long long i = 0; i < rows; i += 8)
        key = mix(key ^ load(signature + at + i, (size_t)(rows - i < 8 ? rows - i : 8)) ^ (uint64_t)i * SALT);
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

#define MOST_DOUBTS 64 /* unlikely pairs that one row may propose: beyond, it is taken to be different */
#define MOST_BETS 4   /* likely pairs that one row may propose before it is set aside for them */

typedef struct {
    uint32_t *items;
    size_t n, room;
} Pairs;

static int pairs_add(Pairs *p, uint32_t keeper, uint32_t row, uint32_t same)
{
    if (p->n + 3 > p->room) {
        const size_t room = p->room ? 2 * p->room : 3 << 12;
        uint32_t *items = realloc(p->items, room * sizeof *items);
        if (!items)
            return 0;
        p->items = items;
        p->room = room;
    }
    p->items[p->n++] = keeper;
    p->items[p->n++] = row;
    p->items[p->n++] = same;
    return 1;
}

/* What is known of a pair: -1 nothing, else 0 or 1. */
static int known_of(const uint64_t *keys, const uint8_t *verdicts, size_t n, uint64_t key)
{
    size_t low = 0, high = n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (keys[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && keys[low] == key ? verdicts[low] : -1;
}

typedef struct {
    const uint8_t *signatures, *fresh, *verdicts;
    const int64_t *slots;
    const uint64_t *known;
    size_t n_known, leaders;
    unsigned low, middle, high;
    uint8_t hasty, *out, *doubts, *bets;
    Pairs pairs;
} Collision;

/* One bucket: its rows, best first, each against the leaders, the rows that matched none before them. */
static int collide_bucket(Collision *c, const uint64_t *bucket, size_t n, uint32_t *leaders)
{
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
            const int known = same >= c->high ? -1 : known_of(c->known, c->verdicts, c->n_known, (uint64_t)leader << 32 | row);
            if (same >= c->high || known == 1)
                c->out[row] = c->hasty;
            else if (known == -1 && same >= c->middle)
                c->out[row] = c->hasty && ++c->bets[row] == MOST_BETS;
            else if (known == -1 && c->doubts[row]++ == MOST_DOUBTS) {
                c->doubts[row]--;
                continue;
            }
            if (known == -1 && !pairs_add(&c->pairs, leader, row, same))
                return 0;
        }
        if (!c->out[row] && led < c->leaders)
            leaders[led++] = row;
    }
    return 1;
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
