/* Words, shingles and the sketch of a text: the inner loops of `_kernel.c`, which alone includes this file. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define HAVE_AVX2_BUILD 1
#include <immintrin.h>
#endif

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "signatures are defined on little-endian words; without this extension dedup uses its numpy twin"
#endif

#define K 256             /* bins of a signature */
#define CHUNK 4096        /* bytes of text that are tokenised at a time: a multiple of 64 */
#define HELD (1 << 16)    /* shingles of one row that are held for further rounds; longer texts are read again */
#define ROUNDS 32         /* random rounds of the sketch before every empty bin gets a hash of its own */
#define MOST_WORDS 64     /* largest shingle */

static const uint64_t MIX1 = 0xBF58476D1CE4E5B9ull, MIX2 = 0x94D049BB133111EBull; /* splitmix64's finaliser */
static const uint64_t WORD = 0x9E3779B97F4A7C15ull, LENGTH = 0xD1B54A32D192ED03ull;
static const uint64_t ROLL = 0xD6E8FEB86659FD93ull, SALT = 0xA24BAED4963EE407ull;
static const uint64_t VALUE = (1ull << 56) - 1;

/* A bijection of 64 bits in which every bit of the result depends on every bit of x. */
static inline uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * MIX1;
    x = (x ^ (x >> 27)) * MIX2;
    return x ^ (x >> 31);
}

/* ------------------------------------------------------------------ words: one bit per byte of text */

static inline int is_word(uint8_t c)
{
    return (uint8_t)((c | 0x20) - 'a') < 26 || (uint8_t)(c - '0') < 10 || c == '_' || c >= 0x80;
}

static void masks_plain(const uint8_t *text, size_t blocks, uint64_t *masks)
{
    for (size_t b = 0; b < blocks; b++) {
        uint64_t mask = 0;
        for (int i = 0; i < 64; i++)
            mask |= (uint64_t)is_word(text[64 * b + i]) << i;
        masks[b] = mask;
    }
}

static unsigned same_plain(const uint8_t *a, const uint8_t *b)
{
    unsigned same = 0;
    for (int i = 0; i < K; i++)
        same += a[i] == b[i];
    return same;
}

#ifdef HAVE_AVX2_BUILD
__attribute__((target("avx2"))) static inline uint32_t words_of_32(const uint8_t *text)
{
    const __m256i bytes = _mm256_loadu_si256((const __m256i *)text);
    const __m256i lower = _mm256_or_si256(bytes, _mm256_set1_epi8(0x20));
    /* x <= n as min(x, n) == x, because AVX2 compares only signed bytes */
    const __m256i letter = _mm256_sub_epi8(lower, _mm256_set1_epi8('a'));
    const __m256i digit = _mm256_sub_epi8(bytes, _mm256_set1_epi8('0'));
    __m256i word = _mm256_cmpeq_epi8(_mm256_min_epu8(letter, _mm256_set1_epi8(25)), letter);
    word = _mm256_or_si256(word, _mm256_cmpeq_epi8(_mm256_min_epu8(digit, _mm256_set1_epi8(9)), digit));
    word = _mm256_or_si256(word, _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('_')));
    return (uint32_t)_mm256_movemask_epi8(_mm256_or_si256(word, bytes)); /* its top bit: >= 0x80 */
}

__attribute__((target("avx2"))) static void masks_avx2(const uint8_t *text, size_t blocks, uint64_t *masks)
{
    for (size_t b = 0; b < blocks; b++)
        masks[b] = words_of_32(text + 64 * b) | (uint64_t)words_of_32(text + 64 * b + 32) << 32;
}

__attribute__((target("avx2,popcnt"))) static unsigned same_avx2(const uint8_t *a, const uint8_t *b)
{
    unsigned same = 0;
    for (int i = 0; i < K; i += 32) {
        const __m256i x = _mm256_loadu_si256((const __m256i *)(a + i));
        const __m256i y = _mm256_loadu_si256((const __m256i *)(b + i));
        same += (unsigned)_mm_popcnt_u32((uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(x, y)));
    }
    return same;
}
#endif

static void (*word_masks)(const uint8_t *, size_t, uint64_t *) = masks_plain;
static unsigned (*same_bins)(const uint8_t *, const uint8_t *) = same_plain;

/* ------------------------------------------------------------------------------ shingles of a text */

static inline uint64_t load(const uint8_t *from, size_t n)
{
    uint64_t word = 0;
    memcpy(&word, from, n);
    return word;
}

/* ASCII letters to lower case: every byte below 0x80 gets the bit 0x20, which no two word bytes share. */
static inline uint64_t fold(uint64_t word)
{
    return word | (0x2020202020202020ull & ~(word >> 2));
}

static inline uint64_t hash_word(const uint8_t *word, size_t n, const uint8_t *limit)
{
    uint64_t hash = n * LENGTH;
    while (n > 8) {
        hash = (hash ^ fold(load(word, 8))) * WORD;
        hash ^= hash >> 32;
        word += 8;
        n -= 8;
    }
    const uint64_t last = limit - word >= 8 ? load(word, 8) : load(word, n);
    hash = (hash ^ (fold(last) & (~0ull >> (64 - 8 * n)))) * WORD;
    return hash ^ (hash >> 29);
}

#define MOST (CHUNK / 2 + 2) /* words, and shingles, that can end in one chunk */

typedef struct {
    const uint8_t *at, *end, *word; /* next chunk, end of text, start of the word that is open */
    uint64_t roll, power;           /* polynomial over the last `ngram` words; weight of the one that leaves */
    uint64_t last;                  /* whether the byte before `at` belongs to a word */
    size_t ngram, words;
    int done;
    uint64_t window[MOST_WORDS + MOST]; /* the last `ngram` words, zeros where there are none, then new ones */
} Reader;

static void reader_open(Reader *r, const uint8_t *start, const uint8_t *end, size_t ngram)
{
    r->at = r->word = start;
    r->end = end;
    r->roll = r->last = r->words = r->done = 0;
    r->ngram = ngram;
    r->power = 1;
    for (size_t i = 0; i < ngram; i++) {
        r->power *= ROLL;
        r->window[i] = 0;
    }
}

/* Places, relative to `at`, where words begin and end by turns in the next chunk. */
static size_t reader_edges(Reader *r, uint16_t *edges)
{
    uint64_t masks[CHUNK / 64];
    uint8_t tail[64];
    const size_t left = (size_t)(r->end - r->at), whole = left >= CHUNK ? CHUNK / 64 : left / 64;
    size_t blocks = whole, n = 0;
    word_masks(r->at, whole, masks);
    if (left < CHUNK && left % 64) {
        memset(tail, 0, sizeof tail);
        memcpy(tail, r->at + 64 * whole, left % 64);
        word_masks(tail, 1, masks + blocks++);
    }
    uint64_t last = r->last;
    for (size_t b = 0; b < blocks; b++) {
        uint64_t changes = masks[b] ^ (masks[b] << 1 | last);
        last = masks[b] >> 63;
        const size_t stop = n + (size_t)__builtin_popcountll(changes);
        while (n < stop) { /* eight at a time, whether there are so many or not, spares mispredicted branches */
            for (int i = 0; i < 8; i++, changes &= changes - 1)
                edges[n + (size_t)i] = (uint16_t)(64 * b + (size_t)__builtin_ctzll(changes | 1ull << 63));
            n += 8;
        }
        n = stop;
    }
    r->last = last;
    return n;
}

/* The shingles that end in the next CHUNK bytes, at most MOST; `done` when there are no more. */
static size_t reader_next(Reader *r, uint64_t *out)
{
    uint16_t edges[CHUNK + 8];
    const size_t left = (size_t)(r->end - r->at), ngram = r->ngram;
    const int open = (int)r->last;
    const size_t n = reader_edges(r, edges);
    const uint8_t *const at = r->at, *const end = r->end;
    uint64_t *const fresh = r->window + ngram;
    size_t words = 0, e = 0;
    if (open && n)
        fresh[words++] = hash_word(r->word, (size_t)(at + edges[e++] - r->word), end);
    for (; e + 1 < n; e += 2)
        fresh[words++] = hash_word(at + edges[e], (size_t)(edges[e + 1] - edges[e]), end);
    if (e < n)
        r->word = at + edges[e];
    r->at += left < CHUNK ? left : CHUNK;
    r->done = r->at == end;
    if (r->done && r->last) /* the text ends inside a word; else the padding has closed it */
        fresh[words++] = hash_word(r->word, (size_t)(end - r->word), end);

    uint64_t roll = r->roll;
    const uint64_t power = r->power, *const window = r->window;
    size_t missing = r->words < ngram - 1 ? ngram - 1 - r->words : 0, found = 0, w = 0;
    for (; w < words && missing; w++, missing--)
        roll = roll * ROLL + fresh[w];
    for (; w < words; w++) {
        roll = roll * ROLL + fresh[w] - window[w] * power;
        out[found++] = mix(roll);
    }
    r->roll = roll;
    r->words += words;
    memmove(r->window, r->window + words, 8 * ngram);
    if (r->done && r->words && r->words < ngram)
        out[found++] = mix(roll);
    return found;
}

/* ----------------------------------------------------------------------------------- licence headers */

#define HEADER_BYTES 16384 /* how far into a text a licence header is looked for */

/* Where `needle` stands in lower-cased [at, end); end if nowhere. */
static const uint8_t *find(const uint8_t *at, const uint8_t *end, const char *needle)
{
    const size_t n = strlen(needle);
    for (; (size_t)(end - at) >= n; at++) {
        size_t i = 0;
        while (i < n && (at[i] >= 'A' && at[i] <= 'Z' ? at[i] | 0x20 : at[i]) == (uint8_t)needle[i])
            i++;
        if (i == n)
            return at;
    }
    return end;
}

static int opens(const uint8_t *at, const uint8_t *end, const char *with)
{
    return (size_t)(end - at) >= strlen(with) && memcmp(at, with, strlen(with)) == 0;
}

static const uint8_t *skip(const uint8_t *at, const uint8_t *end, const char *set)
{
    while (at < end && *at && strchr(set, *at))
        at++;
    return at;
}

/* The end of the comment at `at`: a block, or a run of lines with one opener; NULL if there is none. */
static const uint8_t *comment(const uint8_t *at, const uint8_t *end)
{
    static const char *const blocks[3][2] = {{"/*", "*/"}, {"<!--", "-->"}, {"<?", "\n"}};
    static const char *const lines[5] = {"//", "#", "--", ";", "%"};
    for (int i = 0; i < 3; i++)
        if (opens(at, end, blocks[i][0])) {
            const uint8_t *close = find(at + strlen(blocks[i][0]), end, blocks[i][1]);
            return close == end ? NULL : close + strlen(blocks[i][1]);
        }
    for (int i = 0; i < 5; i++)
        if (opens(at, end, lines[i])) {
            const uint8_t *next = at, *stop = at;
            while (opens(next, end, lines[i])) {
                stop = memchr(next, '\n', (size_t)(end - next));
                stop = stop ? stop + 1 : end;
                next = skip(stop, end, " \t");
            }
            return stop;
        }
    return NULL;
}

/* Where the text begins after the comments at its head, up to the last that speaks of rights. */
static const uint8_t *after_licence(const uint8_t *at, const uint8_t *end)
{
    const uint8_t *body = at, *close;
    end = (size_t)(end - at) > HEADER_BYTES ? at + HEADER_BYTES : end;
    at = opens(at, end, "\xEF\xBB\xBF") ? at + 3 : at;
    for (;;) {
        at = skip(at, end, " \t\r\n\f\v");
        if (!(close = comment(at, end)))
            return body;
        if (find(at, close, "copyright") < close || find(at, close, "licen") < close || find(at, close, "spdx") < close)
            body = close;
        at = close;
    }
}

/* ---------------------------------------------------------------- signature: Fast Similarity Sketch */

/* A bin holds (round << 56 | hash): the least value wins, so the least of two sketches, bin by bin, is
 * the sketch of the union.  Dahlgaard, Knudsen, Thorup 2017, with ROUNDS rounds in place of k. */
static inline unsigned sketch_round(uint64_t *bins, const uint64_t *shingles, size_t n, uint64_t round)
{
    unsigned filled = 0;
    for (size_t i = 0; i < n; i++) {
        const uint64_t x = round ? mix(shingles[i] ^ round * SALT) : shingles[i];
        const uint64_t value = round << 56 | (x & VALUE);
        uint64_t *bin = bins + (x >> 56);
        filled += *bin == ~0ull;
        *bin = value < *bin ? value : *bin;
    }
    return filled;
}

static inline void sketch_own(uint64_t *bins, const uint8_t *empty, const uint64_t *shingles, size_t n)
{
    for (int j = 0; j < K; j++)
        if (empty[j])
            for (size_t i = 0; i < n; i++) {
                const uint64_t x = mix(shingles[i] ^ (uint64_t)(ROUNDS + j) * SALT);
                const uint64_t value = (uint64_t)ROUNDS << 56 | (x & VALUE);
                bins[j] = value < bins[j] ? value : bins[j];
            }
}

/* Shingles on their way to a file; none is written if `file` is below 0. */
typedef struct {
    int file, error; /* errno of the first write that failed */
    size_t n;
    uint64_t items[1 << 15];
} Writer;

static void writer_flush(Writer *w)
{
    const char *at = (const char *)w->items, *const end = (const char *)(w->items + w->n);
    while (at < end && !w->error) {
        const ssize_t wrote = write(w->file, at, (size_t)(end - at));
        if (wrote >= 0)
            at += wrote;
        else if (errno != EINTR)
            w->error = errno;
    }
    w->n = 0;
}

static void writer_put(Writer *w, const uint64_t *shingles, size_t n)
{
    if (w->file < 0)
        return;
    if (w->n + n > sizeof w->items / sizeof *w->items)
        writer_flush(w);
    memcpy(w->items + w->n, shingles, 8 * n);
    w->n += n;
}

typedef struct {
    const uint8_t *data;
    const int64_t *starts, *ends;
    size_t first, stop; /* segments of the row */
    size_t ngram;
    uint64_t *held;
    uint64_t chunk[MOST];
    Writer out;
} Row;

/* One round over all shingles of a row; they are read from the text again if they were too many to hold. */
static unsigned row_round(Row *row, uint64_t *bins, uint64_t round, const uint8_t *empty, size_t held)
{
    unsigned filled = 0;
    if (held != SIZE_MAX) {
        if (round == ROUNDS)
            sketch_own(bins, empty, row->held, held);
        return round == ROUNDS ? 0 : sketch_round(bins, row->held, held, round);
    }
    for (size_t s = row->first; s < row->stop; s++) {
        Reader reader;
        reader_open(&reader, row->data + row->starts[s], row->data + row->ends[s], row->ngram);
        while (!reader.done) {
            const size_t n = reader_next(&reader, row->chunk);
            if (round == ROUNDS)
                sketch_own(bins, empty, row->chunk, n);
            else
                filled += sketch_round(bins, row->chunk, n, round);
        }
    }
    return filled;
}

/* Gather the distinct shingles of a long row into `held`: how many, SIZE_MAX if there is no room for all.
 * Only rows of few different shingles leave bins empty, and what is tried for each empty bin must not cost
 * the length of a text that says the same a billion times.  Slots are salted as in `intersect`. */
static size_t row_distinct(Row *row)
{
    uint32_t *const slots = calloc(2 * HELD, sizeof *slots); /* places in `held`, from 1 */
    const uint64_t salt = mix((uint64_t)(uintptr_t)slots) | 1;
    size_t n = slots ? 0 : SIZE_MAX;
    for (size_t s = row->first; s < row->stop && n != SIZE_MAX; s++) {
        Reader reader;
        reader_open(&reader, row->data + row->starts[s], row->data + row->ends[s], row->ngram);
        while (!reader.done && n != SIZE_MAX) {
            const size_t more = reader_next(&reader, row->chunk);
            for (size_t i = 0; i < more && n != SIZE_MAX; i++) {
                size_t at = (size_t)(row->chunk[i] * salt >> 40) & (2 * HELD - 1);
                while (slots[at] && row->held[slots[at] - 1] != row->chunk[i])
                    at = (at + 1) & (2 * HELD - 1);
                if (slots[at])
                    continue;
                if (n < HELD) {
                    row->held[n++] = row->chunk[i];
                    slots[at] = (uint32_t)n;
                } else
                    n = SIZE_MAX;
            }
        }
    }
    free(slots);
    return n;
}

static uint64_t sketch_row(Row *row, uint64_t *bins)
{
    uint64_t count = 0;
    unsigned filled = 0;
    for (int j = 0; j < K; j++)
        bins[j] = ~0ull;
    for (size_t s = row->first; s < row->stop; s++) {
        Reader reader;
        reader_open(&reader, row->data + row->starts[s], row->data + row->ends[s], row->ngram);
        while (!reader.done) {
            const size_t n = reader_next(&reader, row->chunk);
            filled += sketch_round(bins, row->chunk, n, 0);
            writer_put(&row->out, row->chunk, n);
            if (count + n <= HELD)
                memcpy(row->held + count, row->chunk, 8 * n);
            count += n;
        }
    }
    size_t held = count <= HELD ? (size_t)count : SIZE_MAX;
    if (held == SIZE_MAX && filled < K)
        held = row_distinct(row);
    for (uint64_t round = 1; count && filled < K && round < ROUNDS; round++)
        filled += row_round(row, bins, round, NULL, held);
    if (count && filled < K) {
        uint8_t empty[K];
        for (int j = 0; j < K; j++)
            empty[j] = bins[j] == ~0ull;
        row_round(row, bins, ROUNDS, empty, held);
    }
    return count;
}
