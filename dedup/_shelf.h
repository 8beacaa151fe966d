/* Items whose shingles lie in files: which of some is similar to another.  Included by `_kernel.c` alone. */

typedef struct {
    const int64_t *members, *bounds, *bases, *starts; /* rows of items; first rows of units; see `first_similar` */
    const int32_t *files;
    size_t items, units, rows;
    int64_t n_members;
} Shelf;

/* Shingles of an item in memory of its own. */
typedef struct {
    uint64_t *shingles;
    size_t n;
} Loaded;

static int read_all(int file, char *to, size_t size, int64_t at)
{
    while (size) {
        const ssize_t got = pread(file, to, size, (off_t)at);
        if (got == 0)
            errno = EIO; /* the file is shorter than its counts say */
        if (got == 0 || (got < 0 && errno != EINTR))
            return 0;
        if (got > 0) {
            to += got;
            at += got;
            size -= (size_t)got;
        }
    }
    return 1;
}

/* The unit of a row: the last whose first row is not after it. */
static size_t unit_of(const Shelf *s, int64_t row)
{
    size_t low = 0, high = s->units;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (s->bases[middle] <= row)
            low = middle;
        else
            high = middle;
    }
    return low;
}

#define MOST_SHINGLES (1ll << 40) /* of a file */

/* Have Python open the files that an item lies in; 0 if it raised.  What it says of the item is checked here, not
 * on entry: a call looks at few of many items. */
static int open_files(const Shelf *s, size_t item, PyObject *open)
{
    int good = s->bounds[item] >= 0 && s->bounds[item + 1] <= s->n_members;
    for (int64_t m = s->bounds[item]; good && m < s->bounds[item + 1]; m++) {
        const int64_t row = s->members[m], *const starts = s->starts + 2 * row;
        if (!(good = row >= 0 && (size_t)row < s->rows))
            break;
        const size_t unit = unit_of(s, row);
        if (s->files[unit] < 0) {
            PyObject *done = PyObject_CallFunction(open, "n", (Py_ssize_t)unit);
            if (!done)
                return 0;
            Py_DECREF(done);
        }
        good = starts[0] >= 0 && starts[0] <= starts[1] && starts[1] <= MOST_SHINGLES;
    }
    if (!good)
        PyErr_SetString(PyExc_ValueError, "first_similar: sizes do not fit together");
    return good;
}

/* Read an item; 0, with errno set, if that fails. */
static int load_item(const Shelf *s, size_t item, Loaded *found)
{
    found->n = 0;
    for (int64_t m = s->bounds[item]; m < s->bounds[item + 1]; m++) {
        const int64_t row = s->members[m];
        found->n += (size_t)(s->starts[2 * row + 1] - s->starts[2 * row]);
    }
    found->shingles = malloc(8 * found->n + 8);
    if (!found->shingles)
        return 0;
    char *to = (char *)found->shingles;
    for (int64_t m = s->bounds[item]; m < s->bounds[item + 1]; m++) {
        const int64_t row = s->members[m], start = s->starts[2 * row], size = 8 * (s->starts[2 * row + 1] - start);
        if (!read_all(s->files[unit_of(s, row)], to, (size_t)size, 8 * start))
            return 0;
        to += size;
    }
    return 1;
}

/* first_similar(members, bounds, bases, starts, files, others, item, threshold, open) -> (place or -1, similarity)
 *   starts: int64 [rows, 2], where the shingles of a row start and end in the file of its unit
 *   files: int32 [units], descriptors; open(unit) fills in one that is below 0 and the starts of its rows */
static PyObject *first_similar(PyObject *self, PyObject *args)
{
    Buffers b;
    (void)self;
    if (!take(&b, args, "rrrrrr"))
        return NULL;
    const Shelf s = {.members = b.view[0].buf, .bounds = b.view[1].buf, .bases = b.view[2].buf, .starts = b.view[3].buf,
                     .files = b.view[4].buf, .items = (size_t)ITEMS(b, 1, int64_t) - 1, .units = (size_t)ITEMS(b, 2, int64_t),
                     .rows = (size_t)ITEMS(b, 3, int64_t) / 2, .n_members = ITEMS(b, 0, int64_t)};
    const uint32_t *others = b.view[5].buf;
    const Py_ssize_t n = ITEMS(b, 5, uint32_t);
    const long long item = number(args, 6);
    const double threshold = PyFloat_AsDouble(PyTuple_GetItem(args, 7));
    PyObject *const open = PyTuple_GetItem(args, 8);
    int good = !PyErr_Occurred() && ITEMS(b, 1, int64_t) && item >= 0 && (size_t)item < s.items && s.units &&
               ITEMS(b, 4, int32_t) == (Py_ssize_t)s.units;
    for (Py_ssize_t i = 0; good && i < n; i++)
        good = others[i] < s.items;
    if (!good) {
        fail(&b, PyErr_Occurred() ? NULL : "first_similar: sizes do not fit together");
        return NULL;
    }
    Loaded mine = {NULL, 0};
    Py_ssize_t place = -1;
    double similarity = 0;
    good = open_files(&s, (size_t)item, open);
    if (good && !load_item(&s, (size_t)item, &mine)) {
        PyErr_SetFromErrno(PyExc_OSError);
        good = 0;
    }
    for (Py_ssize_t i = 0; good && place < 0 && i < n; i++) {
        Loaded theirs = {NULL, 0};
        if (!(good = open_files(&s, others[i], open)))
            break;
        Py_BEGIN_ALLOW_THREADS
        similarity = load_item(&s, others[i], &theirs) ? similarity_of(mine.shingles, mine.n, theirs.shingles, theirs.n) : -1;
        free(theirs.shingles);
        Py_END_ALLOW_THREADS
        if (similarity < 0) {
            PyErr_SetFromErrno(PyExc_OSError);
            good = 0;
        } else if (similarity >= threshold)
            place = i;
    }
    free(mine.shingles);
    give_back(&b);
    return good ? Py_BuildValue("nd", place, similarity) : NULL;
}
