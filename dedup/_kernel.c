/* The loops of dedup that a processor should run and an interpreter should not.
 *
 * Words, shingles, signatures, candidates, exact similarity, and the choice of what is kept.  `twin.py`
 * says the same in numpy and gives the same bits; the tests hold the two together, so read that file to
 * know *what* is computed and this one to know how it is made quick.
 *
 * Everything here is written for hostile input: no length is trusted that the caller could get wrong
 * (sizes are checked against the buffers on entry), nothing is read outside [start, end) of a text, and
 * memory does not grow with the length of a text.  The interpreter lock is released while loops run.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include "_shingles.h"

#include "_pairs.h"

#include "_windows.h"

/* ------------------------------------------------------------------------------- Python's side of it */

typedef struct {
    Py_buffer view[12];
    int n;
} Buffers;

static int fail(Buffers *buffers, const char *message)
{
    for (int i = 0; i < buffers->n; i++)
        PyBuffer_Release(&buffers->view[i]);
    if (message)
        PyErr_SetString(PyExc_ValueError, message);
    return 0;
}

/* Take the buffers of a call: `kinds` has one letter each, r to read and w to write. */
static int take(Buffers *buffers, PyObject *args, const char *kinds)
{
    buffers->n = 0;
    if (PyTuple_Size(args) < (Py_ssize_t)strlen(kinds))
        return fail(buffers, "too few arguments");
    for (; kinds[buffers->n]; buffers->n++) {
        PyObject *item = PyTuple_GetItem(args, buffers->n);
        const int flags = kinds[buffers->n] == 'w' ? PyBUF_WRITABLE : PyBUF_SIMPLE;
        if (!item || PyObject_GetBuffer(item, &buffers->view[buffers->n], flags) < 0)
            return fail(buffers, NULL);
    }
    return 1;
}

static long long number(PyObject *args, Py_ssize_t at)
{
    PyObject *item = PyTuple_GetItem(args, at);
    return item ? PyLong_AsLongLong(item) : -1;
}

static void give_back(Buffers *buffers)
{
    fail(buffers, NULL);
}

#define ITEMS(buffers, i, type) ((buffers).view[i].len / (Py_ssize_t)sizeof(type))

static int segments_fit(const int64_t *starts, const int64_t *ends, Py_ssize_t n, Py_ssize_t size)
{
    for (Py_ssize_t s = 0; s < n; s++)
        if (starts[s] < 0 || ends[s] < starts[s] || ends[s] > size)
            return 0;
    return 1;
}

/* sign(data, starts, ends, rows, groups, signatures, counts, sketches, ngram) */
static PyObject *sign(PyObject *self, PyObject *args)
{
    Buffers b;
    (void)self;
    if (!take(&b, args, "rrrrrwww"))
        return NULL;
    const int64_t *starts = b.view[1].buf, *ends = b.view[2].buf, *rows = b.view[3].buf, *groups = b.view[4].buf;
    uint8_t *signatures = b.view[5].buf;
    uint64_t *counts = b.view[6].buf, *sketches = b.view[7].buf;
    const Py_ssize_t segments = ITEMS(b, 1, int64_t), n = ITEMS(b, 4, int64_t), merged = b.view[7].len / (8 * K);
    const long long ngram = number(args, 8);
    int good = ITEMS(b, 2, int64_t) == segments && ITEMS(b, 3, int64_t) == n + 1 && b.view[5].len == n * K &&
               ITEMS(b, 6, uint64_t) == n && ngram >= 1 && ngram <= MOST_WORDS;
    for (Py_ssize_t i = 0; good && i < n; i++)
        good = rows[i] >= 0 && rows[i] <= rows[i + 1] && rows[i + 1] <= segments && groups[i] < merged;
    if (!good || !segments_fit(starts, ends, segments, b.view[0].len)) {
        fail(&b, "sign: sizes do not fit together");
        return NULL;
    }
    Row *row = malloc(sizeof *row);
    uint64_t *held = malloc(8 * HELD);
    if (!row || !held) {
        free(row);
        free(held);
        give_back(&b);
        return PyErr_NoMemory();
    }
    Py_BEGIN_ALLOW_THREADS
    row->data = b.view[0].buf;
    row->starts = starts;
    row->ends = ends;
    row->ngram = (size_t)ngram;
    row->held = held;
    for (Py_ssize_t i = 0; i < n; i++) {
        uint64_t bins[K];
        row->first = (size_t)rows[i];
        row->stop = (size_t)rows[i + 1];
        counts[i] = sketch_row(row, bins);
        for (int j = 0; j < K; j++)
            signatures[i * K + j] = (uint8_t)bins[j];
        if (groups[i] >= 0) {
            uint64_t *sketch = sketches + groups[i] * K;
            for (int j = 0; j < K; j++)
                sketch[j] = bins[j] < sketch[j] ? bins[j] : sketch[j];
        }
    }
    Py_END_ALLOW_THREADS
    free(row);
    free(held);
    give_back(&b);
    Py_RETURN_NONE;
}

/* behead(data, starts, ends): move every start behind the licence header of its text */
static PyObject *behead(PyObject *self, PyObject *args)
{
    Buffers b;
    (void)self;
    if (!take(&b, args, "rwr"))
        return NULL;
    const uint8_t *data = b.view[0].buf;
    int64_t *starts = b.view[1].buf;
    const int64_t *ends = b.view[2].buf;
    const Py_ssize_t segments = ITEMS(b, 1, int64_t);
    if (ITEMS(b, 2, int64_t) != segments || !segments_fit(starts, ends, segments, b.view[0].len)) {
        fail(&b, "behead: sizes do not fit together");
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t s = 0; s < segments; s++)
        starts[s] = after_licence(data + starts[s], data + ends[s]) - data;
    Py_END_ALLOW_THREADS
    give_back(&b);
    Py_RETURN_NONE;
}

/* shingle(data, starts, ends, out, ngram) -> how many */
static PyObject *shingle(PyObject *self, PyObject *args)
{
    Buffers b;
    (void)self;
    if (!take(&b, args, "rrrw"))
        return NULL;
    const int64_t *starts = b.view[1].buf, *ends = b.view[2].buf;
    uint64_t *out = b.view[3].buf;
    const Py_ssize_t segments = ITEMS(b, 1, int64_t), room = ITEMS(b, 3, uint64_t);
    const long long ngram = number(args, 4);
    if (ITEMS(b, 2, int64_t) != segments || ngram < 1 || ngram > MOST_WORDS ||
        !segments_fit(starts, ends, segments, b.view[0].len)) {
        fail(&b, "shingle: sizes do not fit together");
        return NULL;
    }
    Py_ssize_t n = 0;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t s = 0; s < segments && n >= 0; s++) {
        uint64_t chunk[MOST];
        Reader reader;
        reader_open(&reader, (const uint8_t *)b.view[0].buf + starts[s], (const uint8_t *)b.view[0].buf + ends[s],
                    (size_t)ngram);
        while (!reader.done) {
            const Py_ssize_t more = (Py_ssize_t)reader_next(&reader, chunk);
            if (more > room - n) {
                n = -1;
                break;
            }
            memcpy(out + n, chunk, 8 * (size_t)more);
            n += more;
        }
    }
    Py_END_ALLOW_THREADS
    give_back(&b);
    if (n < 0) {
        PyErr_SetString(PyExc_ValueError, "shingle: more shingles than there is room for");
        return NULL;
    }
    return PyLong_FromSsize_t(n);
}

/* collide(signatures, slots, alive, fresh, out, known, bands, rows, low, middle, high, leaders, patience)
 *   -> bytes of uint32 triples (leader, row, equal bins) */
static PyObject *collide(PyObject *self, PyObject *args)
{
    Buffers b;
    (void)self;
    if (!take(&b, args, "rrrrwr"))
        return NULL;
    const uint8_t *alive = b.view[2].buf;
    const Py_ssize_t n = ITEMS(b, 1, int64_t), slots = b.view[0].len / K;
    const long long bands = number(args, 6), rows = number(args, 7), most = number(args, 11), patience = number(args, 12);
    Collision c = {.signatures = b.view[0].buf, .slots = b.view[1].buf, .fresh = b.view[3].buf, .out = b.view[4].buf,
                   .known = b.view[5].buf, .n_known = (size_t)ITEMS(b, 5, uint64_t), .low = (unsigned)number(args, 8),
                   .middle = (unsigned)number(args, 9), .high = (unsigned)number(args, 10),
                   .leaders = (size_t)(most > 0 ? most : 0), .patience = (unsigned)patience};
    int good = !PyErr_Occurred() && b.view[2].len == n && b.view[3].len == n && b.view[4].len == n && n < UINT32_MAX && bands >= 1 &&
               rows >= 1 && bands <= K && rows <= K && bands * rows <= K && most >= 1 && most <= 1 << 20 && patience >= 1 && patience <= 32;
    for (Py_ssize_t i = 0; good && i < n; i++)
        good = c.slots[i] >= 0 && c.slots[i] < slots;
    if (!good) {
        fail(&b, PyErr_Occurred() ? NULL : "collide: sizes do not fit together");
        return NULL;
    }
    c.n = (size_t)n;
    c.alive = alive;
    c.doubts = calloc(2 * (size_t)n + 1, 1);
    c.bets = c.doubts + n;
    int enough = c.doubts != NULL;
    Py_BEGIN_ALLOW_THREADS
    enough = enough && collide_all(&c, (size_t)bands, (size_t)rows);
    Py_END_ALLOW_THREADS
    free(c.doubts);
    give_back(&b);
    PyObject *result =
        enough ? PyBytes_FromStringAndSize((const char *)c.pairs.items, (Py_ssize_t)(12 * c.pairs.n)) : PyErr_NoMemory();
    free(c.pairs.items);
    free(c.pairs.index);
    return result;
}

/* jaccard(shingles, starts, ends, left, right, out): exact similarity of sets left[i] and right[i] */
static PyObject *jaccard(PyObject *self, PyObject *args)
{
    Buffers b;
    (void)self;
    if (!take(&b, args, "rrrrrw"))
        return NULL;
    const uint64_t *shingles = b.view[0].buf;
    const int64_t *starts = b.view[1].buf, *ends = b.view[2].buf, *left = b.view[3].buf, *right = b.view[4].buf;
    double *out = b.view[5].buf;
    const Py_ssize_t sets = ITEMS(b, 1, int64_t), n = ITEMS(b, 3, int64_t);
    int good = ITEMS(b, 2, int64_t) == sets && ITEMS(b, 4, int64_t) == n && ITEMS(b, 5, double) == n &&
               segments_fit(starts, ends, sets, ITEMS(b, 0, uint64_t));
    int64_t longest = 1;
    for (Py_ssize_t i = 0; good && i < n; i++)
        good = left[i] >= 0 && left[i] < sets && right[i] >= 0 && right[i] < sets;
    for (Py_ssize_t s = 0; good && s < sets; s++)
        longest = ends[s] - starts[s] > longest ? ends[s] - starts[s] : longest;
    if (!good) {
        fail(&b, "jaccard: sizes do not fit together");
        return NULL;
    }
    int bits = 6;
    while ((1ull << bits) < 4 * (uint64_t)longest && (1ull << bits) < 8 * (uint64_t)PART)
        bits++;
    const size_t size = (size_t)1 << bits;
    Set set = {.keys = malloc(8 * size), .stamps = calloc(size, 4), .tick = 1, .mask = size - 1, .shift = 64 - bits};
    set.salt = mix((uint64_t)(uintptr_t)set.keys) | 1;
    int enough = set.keys && set.stamps;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; enough && i < n; i++) {
        const size_t a = (size_t)(ends[left[i]] - starts[left[i]]), c = (size_t)(ends[right[i]] - starts[right[i]]);
        const uint64_t parts = (a > c ? a : c) / PART + 1;
        uint64_t mine = 0, theirs = 0, common = 0, none = 0;
        for (uint64_t part = 0; part < parts; part++) {
            if (set.tick > UINT32_MAX - 4) {
                memset(set.stamps, 0, 4 * size);
                set.tick = 1;
            }
            set.tick += 2; /* stamps of earlier pairs are now below tick - 1: the table is empty again */
            set.held = 0;
            enough &= intersect(&set, shingles + starts[left[i]], a, part, parts, &mine, &none);
            set.tick += 1;
            enough &= enough && intersect(&set, shingles + starts[right[i]], c, part, parts, &theirs, &common);
        }
        out[i] = mine + theirs ? (double)common / (double)(mine + theirs - common) : 1.0;
    }
    Py_END_ALLOW_THREADS
    free(set.keys);
    free(set.stamps);
    give_back(&b);
    if (!enough)
        return PyErr_NoMemory();
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------------------------------- what is kept */

enum { KEPT = 0, DROPPED = 1, UNKNOWN = 2 };
enum { NO = 0, YES = 1, DOUBT = 2 };

/* settle(keepers, rows, verdicts, states): pairs sorted by row; states by row, best row first */
static PyObject *settle(PyObject *self, PyObject *args)
{
    Buffers b;
    (void)self;
    if (!take(&b, args, "rrrw"))
        return NULL;
    const int64_t *keepers = b.view[0].buf, *rows = b.view[1].buf;
    const uint8_t *verdicts = b.view[2].buf;
    uint8_t *states = b.view[3].buf;
    const Py_ssize_t pairs = ITEMS(b, 0, int64_t), n = b.view[3].len;
    int good = ITEMS(b, 1, int64_t) == pairs && b.view[2].len == pairs;
    for (Py_ssize_t p = 0; good && p < pairs; p++)
        good = keepers[p] >= 0 && keepers[p] < rows[p] && rows[p] < n && (p == 0 || rows[p - 1] <= rows[p]);
    if (!good) {
        fail(&b, "settle: sizes do not fit together");
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    memset(states, KEPT, (size_t)n);
    for (Py_ssize_t p = 0, end; p < pairs; p = end) {
        uint8_t state = KEPT;
        for (end = p; end < pairs && rows[end] == rows[p]; end++) {
            const uint8_t keeper = states[keepers[end]];
            if (verdicts[end] == NO || keeper == DROPPED)
                continue;
            if (verdicts[end] == YES && keeper == KEPT)
                state = DROPPED;
            else if (state == KEPT)
                state = UNKNOWN;
        }
        states[rows[p]] = state;
    }
    Py_END_ALLOW_THREADS
    give_back(&b);
    Py_RETURN_NONE;
}

#include "_repeats.h"

static PyMethodDef methods[] = {
    {"behead", behead, METH_VARARGS, "Starts of texts behind their licence headers."},
    {"sign", sign, METH_VARARGS, "Signatures of rows, and the merged sketches of their groups."},
    {"shingle", shingle, METH_VARARGS, "The shingles of segments of text."},
    {"collide", collide, METH_VARARGS, "Candidate pairs, band after band."},
    {"jaccard", jaccard, METH_VARARGS, "Exact similarity of pairs of shingle sets."},
    {"settle", settle, METH_VARARGS, "Which rows are kept, dropped, or not yet known."},
    {"windows", windows, METH_VARARGS, "Hash and place of every window of words."},
    {"deal", deal, METH_VARARGS, "Records dealt into bins by their hash."},
    {"firsts", firsts, METH_VARARGS, "Where the hash of each record stands first."},
    {"cover", cover, METH_VARARGS, "Spans that cover repeated windows, compared byte by byte."},
    {"characters", characters, METH_VARARGS, "Offsets in bytes as offsets in characters."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_kernel", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit__kernel(void)
{
#ifdef HAVE_AVX2_BUILD
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt")) {
        word_masks = masks_avx2;
        same_bins = same_avx2;
    }
#endif
    return PyModule_Create(&module);
}
