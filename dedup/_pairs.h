/* Pairs of rows: which kept rows a row meets, and how similar two sets are.  The inner loops of `_kernel.c`, which alone
 * includes this file, after `_shingles.h`. */

/* ------------------------------------------------------------------ the rows that are kept, band by band */

/* One table a band, of the kept rows by the hash of their bins there: open addressing with one byte of the
 * hash beside each row, so that a row of another key costs no look at its signature (5 bytes a row and band). */
typedef struct {
    uint8_t *tags; /* 0: free */
    uint32_t *rows;
    size_t size;
} Band;

#define MOST_BANDS K

typedef struct {
    const uint8_t *signatures;
    const int64_t *slots;
    size_t n, bands, width, bucket; /* bands of `width` bins; rows of one key that a row meets */
    Band table[MOST_BANDS];
    uint32_t *seen; /* by row: the last row that met it, from 1 */
    uint64_t keys[MOST_BANDS];
    uint64_t *met; /* (bins that differ << 32 | row) of the partners of the row in hand */
} Index;

static void index_free(Index *x)
{
    for (size_t b = 0; b < x->bands; b++) {
        free(x->table[b].tags);
        free(x->table[b].rows);
    }
    free(x->seen);
    free(x->met);
}

/* Room for all n rows at six parts in seven; 0 if memory is short. */
static int index_open(Index *x)
{
    int enough = 1;
    for (size_t b = 0; b < x->bands; b++) {
        Band *t = &x->table[b];
        t->size = x->n + x->n / 6 + 8;
        t->tags = calloc(t->size, 1);
        t->rows = malloc(t->size * sizeof *t->rows);
        enough &= t->tags && t->rows;
    }
    x->seen = calloc(x->n + 1, sizeof *x->seen);
    x->met = malloc((x->bands * x->bucket + 1) * sizeof *x->met);
    return enough && x->seen && x->met;
}

static inline const uint8_t *signature_of(const Index *x, size_t row)
{
    return x->signatures + x->slots[row] * K;
}

/* Hash of `width` bins. */
static inline uint64_t band_key(const uint8_t *bins, size_t width)
{
    uint64_t key = 0;
    for (size_t i = 0; i < width; i += 8)
        key = mix(key ^ load(bins + i, width - i < 8 ? width - i : 8) ^ i * SALT);
    return key;
}

static inline uint8_t tag_of(uint64_t key)
{
    return (uint8_t)(key | 1);
}

static inline size_t place_of(const Band *t, uint64_t key)
{
    return (size_t)((key >> 32) * t->size >> 32);
}

/* The keys of a row; the places where it will be looked for are fetched while the others are computed. */
static void index_keys(Index *x, size_t row)
{
    const uint8_t *signature = signature_of(x, row);
    for (size_t b = 0; b < x->bands; b++) {
        x->keys[b] = band_key(signature + b * x->width, x->width);
        __builtin_prefetch(x->table[b].tags + place_of(&x->table[b], x->keys[b]));
    }
}

/* Walk the rows that have the key of `row` in a band: the next place from `at` on, SIZE_MAX if there is none. */
static inline size_t band_next(const Index *x, size_t b, size_t row, size_t at)
{
    const Band *t = &x->table[b];
    const uint8_t tag = tag_of(x->keys[b]), *bins = signature_of(x, row) + b * x->width;
    for (; t->tags[at]; at = at + 1 == t->size ? 0 : at + 1)
        if (t->tags[at] == tag && !memcmp(signature_of(x, t->rows[at]) + b * x->width, bins, x->width))
            return at;
    return SIZE_MAX;
}

/* Collect the kept rows that share a band with `row` and have at least `low` equal bins; how many. */
static size_t index_meet(Index *x, size_t row, unsigned low)
{
    const uint8_t *signature = signature_of(x, row);
    size_t n = 0;
    for (size_t b = 0; b < x->bands; b++) {
        const Band *t = &x->table[b];
        size_t at = place_of(t, x->keys[b]);
        while ((at = band_next(x, b, row, at)) != SIZE_MAX) {
            const uint32_t other = t->rows[at];
            if (x->seen[other] != row + 1) {
                x->seen[other] = (uint32_t)row + 1;
                const unsigned same = same_bins(signature_of(x, other), signature);
                if (same >= low)
                    x->met[n++] = (uint64_t)(K - same) << 32 | other;
            }
            at = at + 1 == t->size ? 0 : at + 1;
        }
    }
    return n;
}

static void index_add(Index *x, size_t row)
{
    for (size_t b = 0; b < x->bands; b++) {
        Band *t = &x->table[b];
        size_t at = place_of(t, x->keys[b]), there = 0;
        for (size_t next; (next = band_next(x, b, row, at)) != SIZE_MAX; there++)
            at = next + 1 == t->size ? 0 : next + 1;
        if (there >= x->bucket)
            continue;
        while (t->tags[at])
            at = at + 1 == t->size ? 0 : at + 1;
        t->tags[at] = tag_of(x->keys[b]);
        t->rows[at] = (uint32_t)row;
    }
}

static int nearer(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* ---------------------------------------------------------------------------------- exact similarity */

typedef struct {
    uint64_t *keys, salt;
    uint32_t *stamps, tick;
    size_t mask, held;
    int shift;
} Set;

#define PART (1u << 21) /* shingles in the table at a time; larger sets are compared in parts of the hash space */

/* Count the distinct shingles among `n` that lie in one part of the hash space, and those of them that
 * the other side (stamp tick - 1) has.  Parts and slots are salted with an address, so that nobody can
 * write a text whose shingles all meet in one place; the counts do not depend on it.  0 if it is full. */
static int intersect(Set *set, const uint64_t *x, size_t n, uint64_t part, uint64_t parts, uint64_t *distinct,
                     uint64_t *common)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t place = x[i] * set->salt;
        if (parts > 1 && mix(place) % parts != part) /* the low bits of `place` alone do not know the salt */
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

/* Exact Jaccard similarity of two lists of shingles, as sets; below 0 if memory is short. */
static double similarity_of(const uint64_t *left, size_t n, const uint64_t *right, size_t m)
{
    const uint64_t longest = n > m ? n : m, parts = longest / PART + 1;
    int bits = 6;
    while ((1ull << bits) < 4 * longest && (1ull << bits) < 4 * (uint64_t)PART)
        bits++;
    const size_t size = (size_t)1 << bits;
    Set set = {.keys = malloc(8 * size), .stamps = calloc(size, 4), .mask = size - 1, .shift = 64 - bits};
    uint64_t mine = 0, theirs = 0, common = 0, none = 0;
    int enough = set.keys && set.stamps;
    set.salt = mix((uint64_t)(uintptr_t)set.keys) | 1;
    for (uint64_t part = 0; enough && part < parts; part++) {
        set.tick = 3 * (uint32_t)part + 2; /* what earlier parts left is below tick - 1: the table is empty again */
        set.held = 0;
        enough = intersect(&set, left, n, part, parts, &mine, &none);
        set.tick++;
        enough = enough && intersect(&set, right, m, part, parts, &theirs, &common);
    }
    free(set.keys);
    free(set.stamps);
    if (!enough)
        return -1;
    return mine + theirs ? (double)common / (double)(mine + theirs - common) : 1.0;
}
