/* Exact repeats: windows of words, where each stands first, and the spans that they cover.  Included by
 * `_kernel.c` alone, after `_shingles.h`.
 *
 * A window is `n` words in a row and the bytes between them: two are equal if their bytes are. */

#define MOST_WINDOW 1024 /* largest window, in words */

typedef struct {
    const uint8_t *at, *end;
} Word;

/* A text, or a stretch of one, as the caller cuts it: windows that begin in [begin, until) of text [start, end). */
typedef struct {
    int64_t row, origin, start, end, begin, until; /* offsets into the data; `origin`: of the row's text */
} Stretch;

typedef struct {
    uint64_t hash, place; /* place: row << 32 | offset in the row's text */
} Record;

/* ------------------------------------------------------------------------------- windows of a text */

/* The words that end in the next CHUNK bytes, at most MOST. */
static size_t words_next(Reader *r, Word *out)
{
    uint16_t edges[CHUNK + 8];
    const uint8_t *const at = r->at;
    const int open = (int)r->last;
    const size_t left = (size_t)(r->end - at), n = reader_edges(r, edges);
    size_t words = 0, e = 0;
    if (open && n)
        out[words++] = (Word){r->word, at + edges[e++]};
    for (; e + 1 < n; e += 2)
        out[words++] = (Word){at + edges[e], at + edges[e + 1]};
    if (e < n)
        r->word = at + edges[e];
    r->at += left < CHUNK ? left : CHUNK;
    r->done = r->at == r->end;
    if (r->done && r->last)
        out[words++] = (Word){r->word, r->end};
    return words;
}

/* Some bytes, as they are; at least one. */
static inline uint64_t hash_bytes(const uint8_t *at, const uint8_t *stop, const uint8_t *limit)
{
    size_t n = (size_t)(stop - at);
    uint64_t hash = n * LENGTH;
    for (; n > 8; at += 8, n -= 8) {
        hash = (hash ^ load(at, 8)) * WORD;
        hash ^= hash >> 32;
    }
    const uint64_t last = limit - at >= 8 ? load(at, 8) : load(at, n);
    hash = (hash ^ (last & (~0ull >> (64 - 8 * n)))) * WORD;
    return hash ^ (hash >> 29);
}

/* The windows of a stretch, a chunk of text at a time. */
typedef struct {
    Reader reader;
    const uint8_t *until;
    size_t n, held;                       /* words per window; words held over from the chunks before */
    uint64_t roll, power;                 /* polynomial over the last n - 1 steps; weight of the step that leaves */
    Word words[MOST_WINDOW + MOST];
    uint64_t bare[MOST_WINDOW + MOST];    /* hash of each word */
    uint64_t step[MOST_WINDOW + MOST];    /* the same with the bytes between it and the word before */
    uint64_t hashes[MOST];                /* of the windows that the last call found; window i begins at words[i] */
    size_t drop;                          /* words that the next call lets go */
} Windows;

static void windows_open(Windows *w, const uint8_t *data, const Stretch *stretch, size_t n)
{
    const uint8_t *at = data + stretch->begin, *const end = data + stretch->end;
    if (stretch->begin > stretch->start && is_word(at[-1])) /* a word that began before belongs to the stretch before */
        while (at < end && is_word(*at))
            at++;
    reader_open(&w->reader, at, end, 1);
    w->reader.done = at == end;
    w->until = data + stretch->until;
    w->n = n;
    w->held = w->drop = 0;
    w->roll = 0;
    w->power = 1;
    for (size_t i = 1; i < n; i++)
        w->power *= ROLL;
}

/* How many windows end in the next chunk: window i is words[i] to words[i + n - 1]; -1 at the end. */
static long windows_next(Windows *w)
{
    const size_t n = w->n;
    const uint8_t *const end = w->reader.end;
    memmove(w->words, w->words + w->drop, (w->held - w->drop) * sizeof *w->words);
    memmove(w->bare, w->bare + w->drop, (w->held - w->drop) * 8);
    memmove(w->step, w->step + w->drop, (w->held - w->drop) * 8);
    w->held -= w->drop;
    w->drop = 0;
    if (w->reader.done)
        return -1;
    const size_t first = w->held, stop = first + words_next(&w->reader, w->words + first);
    for (size_t k = first; k < stop; k++) {
        w->bare[k] = hash_bytes(w->words[k].at, w->words[k].end, end);
        w->step[k] = k ? w->bare[k] ^ hash_bytes(w->words[k - 1].end, w->words[k].at, end) * SALT : 0;
    }
    uint64_t roll = w->roll;
    size_t found = 0, k = first;
    for (; k < stop && k + 1 < n; k++)
        roll = roll * ROLL + w->step[k];
    for (; k < stop && w->words[found].at < w->until; k++, found++) {
        roll = roll * ROLL + w->step[k] - w->step[found] * w->power;
        w->hashes[found] = mix(roll + w->bare[found] * w->power);
    }
    /* The next window begins with this word, or behind: does it belong to the stretch? */
    const uint8_t *const next = found < stop ? w->words[found].at : w->reader.last ? w->reader.word : w->reader.at;
    w->reader.done |= next >= w->until;
    w->roll = roll;
    w->held = stop;
    w->drop = found;
    return (long)found;
}

/* All windows of all stretches, in order; how many, or -1 if there is no room for them. */
static Py_ssize_t windows_all(Windows *w, const uint8_t *data, const Stretch *stretches, size_t n_stretches, size_t n,
                              Record *out, Py_ssize_t room)
{
    Py_ssize_t total = 0;
    for (const Stretch *stretch = stretches; stretch < stretches + n_stretches; stretch++) {
        long found;
        windows_open(w, data, stretch, n);
        while ((found = windows_next(w)) >= 0) {
            if (found > room - total)
                return -1;
            for (long i = 0; i < found; i++) {
                out[total].hash = w->hashes[i];
                out[total++].place = (uint64_t)stretch->row << 32 | (uint64_t)(w->words[i].at - data - stretch->origin);
            }
        }
    }
    return total;
}

/* ------------------------------------------------------------------------ where a window stands first */

#define BIN(key, bits) ((bits) ? (size_t)((key) >> (64 - (bits))) : 0)
#define AGAIN 0x80000000u /* of an item: it stands for several records */
#define FREE UINT64_MAX

static inline int earlier(uint64_t a, uint64_t b, const int64_t *ranks)
{
    const int64_t x = ranks[a >> 32], y = ranks[b >> 32];
    return x < y || (x == y && a < b);
}

/* One bin of items, half a key and the number of a record each: out[number] becomes the first place of all
 * that have the same hash. */
static void first_of_bin(uint64_t *items, size_t n, uint64_t *table, const Record *records, const int64_t *ranks,
                         uint64_t *out)
{
    size_t mask = 15;
    while (mask + 1 < 2 * n)
        mask = 2 * mask + 1;
    memset(table, 0xFF, (mask + 1) * sizeof *table);
    for (size_t i = 0; i < n; i++) {
        const uint32_t here = (uint32_t)items[i];
        size_t slot = (size_t)(items[i] >> 32) & mask;
        while (table[slot] != FREE && (table[slot] >> 32 != items[i] >> 32 ||
                                       records[(uint32_t)table[slot] & ~AGAIN].hash != records[here].hash))
            slot = (slot + 1) & mask;
        if (table[slot] == FREE)
            table[slot] = items[i];
        else if (earlier(records[here].place, records[(uint32_t)table[slot] & ~AGAIN].place, ranks))
            table[slot] = items[i] | AGAIN;
        else
            table[slot] |= AGAIN;
        items[i] = (uint64_t)slot << 32 | here;
    }
    for (size_t i = 0; i < n; i++) { /* most stand only once, and nothing else of theirs is touched */
        const uint32_t first = (uint32_t)table[items[i] >> 32];
        if (first & AGAIN)
            out[(uint32_t)items[i]] = records[first & ~AGAIN].place;
    }
}

/* out[i]: the first place with the hash of records[i].  The records are dealt into bins that a processor
 * holds in its cache; the salt keeps a text from being written so that all of it falls into one slot. */
static int first_places(const Record *records, size_t n, const int64_t *ranks, uint64_t *out)
{
    int bits = 0;
    while (bits < 11 && n >> bits > 4096)
        bits++;
    const size_t bins = (size_t)1 << bits;
    size_t *bounds = calloc(bins + 1, sizeof *bounds), largest = 0, size = 16;
    uint64_t *items = malloc((n + 1) * sizeof *items);
    const uint64_t salt = mix((uint64_t)(uintptr_t)items);
    for (size_t i = 0; bounds && i < n; i++)
        bounds[BIN(mix(records[i].hash ^ salt), bits)]++;
    for (size_t b = 0, sum = 0; bounds && b <= bins; b++) {
        const size_t here = bounds[b];
        largest = here > largest ? here : largest;
        bounds[b] = sum;
        sum += here;
    }
    while (size < 2 * largest)
        size *= 2;
    uint64_t *table = malloc(size * sizeof *table);
    const int enough = bounds && items && table;
    for (size_t i = 0; enough && i < n; i++) {
        const uint64_t key = mix(records[i].hash ^ salt);
        items[bounds[BIN(key, bits)]++] = key << 32 | i; /* bounds[b] moves to where bin b ends */
        out[i] = records[i].place;
    }
    for (size_t b = 0, start = 0; enough && b < bins; start = bounds[b++])
        first_of_bin(items + start, bounds[b] - start, table, records, ranks, out);
    free(bounds);
    free(items);
    free(table);
    return enough;
}

/* Records dealt into bins by the top `bits` of their hash, in order within a bin; bounds[bins + 1]. */
static void deal_records(const Record *records, size_t n, int bits, Record *out, int64_t *bounds)
{
    const size_t bins = (size_t)1 << bits;
    memset(bounds, 0, (bins + 1) * sizeof *bounds);
    for (size_t i = 0; i < n; i++)
        bounds[BIN(records[i].hash, bits) + 1]++;
    for (size_t b = 1; b <= bins; b++)
        bounds[b] += bounds[b - 1];
    for (size_t i = 0; i < n; i++)
        out[bounds[BIN(records[i].hash, bits)]++] = records[i];
    memmove(bounds + 1, bounds, bins * sizeof *bounds); /* each is now where its bin ends */
    bounds[0] = 0;
}

/* ------------------------------------------------------------------------- windows that cover a span */

typedef struct {
    uint64_t place, first; /* a window, and where it stands first */
} Repeat;

/* Stable sort by place, eleven bits at a time; digits in which all agree are passed over. */
static void sort_repeats(Repeat *items, Repeat *spare, size_t n)
{
    Repeat *const home = items;
    for (int shift = 0; shift < 64 && n; shift += 11) {
        size_t counts[2048] = {0}, sum = 0;
        for (size_t i = 0; i < n; i++)
            counts[items[i].place >> shift & 2047]++;
        if (counts[items[0].place >> shift & 2047] == n)
            continue;
        for (int v = 0; v < 2048; v++) {
            const size_t here = counts[v];
            counts[v] = sum;
            sum += here;
        }
        for (size_t i = 0; i < n; i++)
            spare[counts[items[i].place >> shift & 2047]++] = items[i];
        Repeat *swap = items;
        items = spare;
        spare = swap;
    }
    if (items != home)
        memcpy(home, items, n * sizeof *items);
}

typedef struct {
    int64_t row, start, end; /* offsets in the row's text */
    uint64_t first;          /* the place of the same bytes */
    int64_t words;
} Span;

typedef struct {
    const uint8_t *data;
    int64_t size;
    const int64_t *texts; /* by row: where its text starts and ends in data */
    size_t rows;
    Span *out;
    Py_ssize_t room, n;
    Span chosen, held; /* the last span that was taken; the last that begins in it and goes on behind it */
} Cover;

/* Take no more spans than are needed: of those that begin in the span before, only the last.  Spans come in
 * order of their starts, and of their ends too. */
static void cover_span(Cover *c, const Span *span)
{
    if (c->chosen.words && span->start < c->chosen.end) {
        c->held = *span;
        return;
    }
    if (c->chosen.words && c->n < c->room)
        c->out[c->n] = c->chosen;
    c->n += c->chosen.words != 0;
    c->chosen = *span;
    if (c->held.words) {
        c->chosen = c->held;
        c->held.words = 0;
        cover_span(c, span); /* at most once more: nothing is held now */
    }
}

static void cover_end(Cover *c)
{
    static const Span none;
    const Span last[2] = {c->chosen, c->held};
    for (int i = 0; i < 2; i++) {
        if (last[i].words && c->n < c->room)
            c->out[c->n] = last[i];
        c->n += last[i].words != 0;
    }
    c->chosen = c->held = none;
}

/* Whether bytes [from, to) of a row's text stand `offset` bytes behind `first`, too; with `whole`, whether
 * their last word ends there as well. */
static int same_bytes(const Cover *c, const uint8_t *from, const uint8_t *to, uint64_t first, int64_t offset, int whole)
{
    const uint64_t row = first >> 32;
    if (row >= c->rows)
        return 0;
    const int64_t start = c->texts[2 * row], end = c->texts[2 * row + 1];
    const int64_t at = start + (int64_t)(first & UINT32_MAX) + offset, stop = at + (to - from);
    return start >= 0 && start <= end && end <= c->size && stop <= end &&
           memcmp(from, c->data + at, (size_t)(to - from)) == 0 && !(whole && stop < end && is_word(c->data[stop]));
}

/* The spans of one stretch; `repeats` are those whose place may lie in it, in order. */
static void cover_stretch(Cover *c, Windows *w, const Stretch *stretch, size_t n, const Repeat *repeats, const Repeat *stop)
{
    const uint8_t *const text = c->data + stretch->origin;
    Span span = {.words = 0};
    int64_t word = 0, last = 0; /* numbers of the window at hand and of the last one of the span */
    long found;
    windows_open(w, c->data, stretch, n);
    while (repeats < stop && (found = windows_next(w)) >= 0)
        for (long i = 0; i < found && repeats < stop; i++, word++) {
            const int64_t at = w->words[i].at - text, end = w->words[(size_t)i + n - 1].end - text;
            const uint64_t place = (uint64_t)stretch->row << 32 | (uint64_t)at;
            while (repeats < stop && repeats->place < place)
                repeats++;
            if (repeats == stop || repeats->place != place)
                continue;
            const uint64_t first = repeats++->first;
            if (first >> 32 == place >> 32 && first + (uint64_t)(end - at) > place)
                continue; /* it overlaps its first, which would not survive */
            if (span.words && at < span.end &&
                same_bytes(c, text + span.end, text + end, span.first, span.end - span.start, 1)) {
                span.end = end; /* the text goes on as it does there, be that the first of this window or a later one */
                span.words += word - last;
            } else if (same_bytes(c, text + at, text + end, first, 0, 0)) {
                if (span.words)
                    cover_span(c, &span);
                span = (Span){stretch->row, at, end, first, (int64_t)n};
            } else
                continue; /* hashes are equal, bytes are not */
            last = word;
        }
    if (span.words)
        cover_span(c, &span);
    cover_end(c);
}

/* Spans of all stretches, which follow one another in order of their places. */
static void cover_all(Cover *c, Windows *w, const Stretch *stretches, size_t n_stretches, size_t n, const Repeat *repeats,
                      size_t n_repeats)
{
    const Repeat *const end = repeats + n_repeats;
    for (const Stretch *stretch = stretches; stretch < stretches + n_stretches; stretch++) {
        const uint64_t origin = (uint64_t)stretch->row << 32;
        const uint64_t begin = origin + (uint64_t)(stretch->begin - stretch->origin);
        const uint64_t until = origin + (uint64_t)(stretch->until - stretch->origin);
        while (repeats < end && repeats->place < begin)
            repeats++;
        const Repeat *stop = repeats;
        while (stop < end && stop->place < until)
            stop++;
        if (stop > repeats)
            cover_stretch(c, w, stretch, n, repeats, stop);
        repeats = stop;
    }
}
