/* Decodes .vqa streams of speech. From top to bottom: bytes, JSON, the model's tensors; the prior in integers, the
   range coder, the container; random numbers, the network, the filter, the excitation; resampling; a stream.

   The codes come out of integers alone and are the same on every machine. The sound is in float32 and double, worked
   out in the order in which the Python package does, from the same random numbers. */

#include "vqaudio.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PI 3.14159265358979323846
#define LEAST(a, b) ((a) < (b) ? (a) : (b))
#define MOST(a, b) ((a) > (b) ? (a) : (b))

/* -------------------------------------------------------------------------------------------------------- errors */

static int fail(vqaudio_error *error, vqaudio_status status, const char *format, ...)
{
    va_list words;
    error->status = status;
    va_start(words, format);
    vsnprintf(error->text, sizeof error->text, format, words);
    va_end(words);
    return 0;
}

static void all_well(vqaudio_error *error)
{
    error->status = VQAUDIO_OK;
    error->text[0] = 0;
}

static int no_memory(vqaudio_error *error)
{
    return fail(error, VQAUDIO_NO_MEMORY, "there is too little memory");
}

/* -------------------------------------------------------------------------------------------------------- memory */

/* All that a model or a stream has taken, to be given back at once. */
typedef union taken {
    struct {
        union taken *next;
    } link;
    double align[2];
} taken;

typedef struct pool {
    taken *first;
    int failed; /* something could not be had: to be looked at once, after all was asked for */
} pool;

/* `count` zeros of `size` bytes. */
static void *take(pool *p, size_t count, size_t size)
{
    taken *block = NULL;
    if (size == 0 || count < (SIZE_MAX / 2 - sizeof(taken)) / size)
        block = calloc(1, sizeof(taken) + count * size);
    if (block == NULL) {
        p->failed = 1;
        return NULL;
    }
    block->link.next = p->first;
    p->first = block;
    return block + 1;
}

static void give_back(pool *p)
{
    while (p->first != NULL) {
        taken *next = p->first->link.next;
        free(p->first);
        p->first = next;
    }
}

/* --------------------------------------------------------------------------------------------------------- bytes */

static uint64_t little(const uint8_t *bytes, int count)
{
    uint64_t value = 0;
    while (count-- > 0)
        value = value << 8 | bytes[count];
    return value;
}

static uint64_t big(const uint8_t *bytes, int count)
{
    uint64_t value = 0;
    int i;
    for (i = 0; i < count; i++)
        value = value << 8 | bytes[i];
    return value;
}

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* IEEE half precision. */
static float half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, mantissa = half & 1023;
    if (exponent == 31)
        return float_of_bits(sign | 0x7f800000u | mantissa << 13);
    if (exponent == 0) {
        float value = (float)mantissa / 16777216.0f;
        return sign ? -value : value;
    }
    return float_of_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

/* CRC-32 as in zlib, four bits at a time. */
static uint32_t crc32_of(const uint8_t *bytes, size_t count)
{
    static const uint32_t steps[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
                                       0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                       0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    uint32_t crc = 0xffffffffu;
    size_t i;
    for (i = 0; i < count; i++) {
        crc ^= bytes[i];
        crc = crc >> 4 ^ steps[crc & 15];
        crc = crc >> 4 ^ steps[crc & 15];
    }
    return ~crc;
}

/* ------------------------------------------------------------------------------------------------------- SHA-256 */

/* FIPS 180-4. */
typedef struct sha256 {
    uint32_t state[8];
    uint8_t block[64];
    uint64_t bytes;
} sha256;

static const uint32_t SHA_ROUNDS[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotated(uint32_t x, int by)
{
    return x >> by | x << (32 - by);
}

static void sha256_start(sha256 *sha)
{
    static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(sha->state, initial, sizeof initial);
    sha->bytes = 0;
}

static void sha256_block(sha256 *sha)
{
    uint32_t w[64], s[8];
    int i;
    for (i = 0; i < 16; i++)
        w[i] = (uint32_t)big(sha->block + 4 * i, 4);
    for (; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (rotated(a, 7) ^ rotated(a, 18) ^ a >> 3) + w[i - 7] +
               (rotated(b, 17) ^ rotated(b, 19) ^ b >> 10);
    }
    memcpy(s, sha->state, sizeof s);
    for (i = 0; i < 64; i++) {
        uint32_t sum1 = rotated(s[4], 6) ^ rotated(s[4], 11) ^ rotated(s[4], 25);
        uint32_t one = s[7] + sum1 + ((s[4] & s[5]) ^ (~s[4] & s[6])) + SHA_ROUNDS[i] + w[i];
        uint32_t sum0 = rotated(s[0], 2) ^ rotated(s[0], 13) ^ rotated(s[0], 22);
        uint32_t two = sum0 + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += one;
        s[0] = one + two;
    }
    for (i = 0; i < 8; i++)
        sha->state[i] += s[i];
}

static void sha256_add(sha256 *sha, const void *data, size_t count)
{
    const uint8_t *bytes = data;
    while (count > 0) {
        size_t at = (size_t)(sha->bytes % 64), part = LEAST(count, 64 - at);
        memcpy(sha->block + at, bytes, part);
        sha->bytes += part;
        bytes += part;
        count -= part;
        if (sha->bytes % 64 == 0)
            sha256_block(sha);
    }
}

static void sha256_text(sha256 *sha, const char *text)
{
    sha256_add(sha, text, strlen(text));
}

static void sha256_end(sha256 *sha, uint8_t digest[32])
{
    uint8_t length[8], pad = 0x80;
    uint64_t bits = 8 * sha->bytes;
    int i;
    for (i = 0; i < 8; i++)
        length[i] = (uint8_t)(bits >> (56 - 8 * i));
    sha256_add(sha, &pad, 1);
    for (pad = 0; sha->bytes % 64 != 56;)
        sha256_add(sha, &pad, 1);
    sha256_add(sha, length, 8);
    for (i = 0; i < 32; i++)
        digest[i] = (uint8_t)(sha->state[i / 4] >> (24 - 8 * (i % 4)));
}

/* ---------------------------------------------------------------------------------------------------------- JSON */

/* A value where it stands in the text; of one that is missing `begin` is NULL. */
typedef struct json {
    const char *begin, *end;
} json;

#define JSON_DEPTH 32

static const char *blank(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
        at++;
    return at;
}

/* Whether `c` may stand in a number, true, false or null. */
static int in_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '+' || c == '-' ||
           c == '.';
}

static const char *after_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++)
        if (*at == '\\' && at + 1 < end)
            at++;
    return at < end ? at + 1 : NULL;
}

/* Behind the value that begins `at`, or NULL where there is none. */
static const char *after_value(const char *at, const char *end, int depth)
{
    char close;
    at = blank(at, end);
    if (at >= end || depth == 0)
        return NULL;
    if (*at == '"')
        return after_string(at, end);
    if (*at != '{' && *at != '[') {
        const char *begin = at;
        while (at < end && in_word(*at))
            at++;
        return at > begin ? at : NULL;
    }
    close = *at == '{' ? '}' : ']';
    for (at = blank(at + 1, end); at < end && *at != close;) {
        if (close == '}') {
            if (*at != '"' || (at = after_string(at, end)) == NULL)
                return NULL;
            at = blank(at, end);
            if (at >= end || *at++ != ':')
                return NULL;
        }
        if ((at = after_value(at, end, depth - 1)) == NULL)
            return NULL;
        at = blank(at, end);
        if (at < end && *at == ',')
            at = blank(at + 1, end);
        else if (at >= end || *at != close)
            return NULL;
    }
    return at < end ? at + 1 : NULL;
}

/* The whole text as a value that is sound all through, or a missing one. */
static json json_of(const char *text, size_t count)
{
    json value = {NULL, NULL};
    const char *begin = blank(text, text + count), *end = after_value(begin, text + count, JSON_DEPTH);
    if (end != NULL) {
        value.begin = begin;
        value.end = end;
    }
    return value;
}

/* The next entry of the object or list `of`; `at` begins as NULL. The key, without its quotes, is for objects. */
static int next_entry(json of, const char **at, json *key, json *value)
{
    const char *here = *at;
    if (of.begin == NULL || (*of.begin != '{' && *of.begin != '['))
        return 0;
    here = blank(here == NULL ? of.begin + 1 : here, of.end);
    if (*here == ',')
        here = blank(here + 1, of.end);
    if (*here == '}' || *here == ']')
        return 0;
    if (*of.begin == '{') {
        key->begin = here + 1;
        here = after_string(here, of.end);
        key->end = here - 1;
        here = blank(here, of.end) + 1;
    }
    value->begin = blank(here, of.end);
    value->end = *at = after_value(here, of.end, JSON_DEPTH + 1);
    return 1;
}

static int is_text(json value, const char *text)
{
    size_t length = strlen(text);
    return value.begin != NULL && (size_t)(value.end - value.begin) == length && memcmp(value.begin, text, length) == 0;
}

static json member(json object, const char *name)
{
    json key = {NULL, NULL}, value = {NULL, NULL};
    const char *at = NULL;
    if (object.begin != NULL && *object.begin == '{')
        while (next_entry(object, &at, &key, &value))
            if (is_text(key, name))
                return value;
    value.begin = value.end = NULL;
    return value;
}

/* The member that has one of two names: configurations of before have other ones. */
static json member_of_old(json object, const char *name, const char *old)
{
    json value = member(object, name);
    return value.begin != NULL ? value : member(object, old);
}

static int is_null(json value)
{
    return value.begin == NULL || is_text(value, "null");
}

/* A number; `otherwise` where there is none. Up to 17 digits and 22 places behind the point are exact. */
static double number(json value, double otherwise)
{
    const char *at = value.begin;
    double digits = 0, scale = 1;
    int negative, exponent = 0, behind = 0, seen = 0;
    if (at == NULL)
        return otherwise;
    negative = *at == '-';
    for (at += negative; at < value.end && ((*at >= '0' && *at <= '9') || (*at == '.' && !behind)); at++) {
        if (*at == '.') {
            behind = 1;
            continue;
        }
        seen = 1;
        digits = 10 * digits + (*at - '0');
        exponent -= behind;
    }
    if (at < value.end && (*at == 'e' || *at == 'E') && seen) {
        int minus = ++at < value.end && *at == '-', power = 0;
        at += at < value.end && (*at == '-' || *at == '+');
        for (; at < value.end && *at >= '0' && *at <= '9' && power < 1000; at++)
            power = 10 * power + (*at - '0');
        exponent += minus ? -power : power;
    }
    if (!seen || at != value.end)
        return otherwise;
    for (behind = abs(exponent); behind > 0 && scale < 1e300; behind--)
        scale *= 10;
    digits = exponent < 0 ? digits / scale : digits * scale;
    return negative ? -digits : digits;
}

/* A whole number from low to high; low - 1 where it is none. */
static int64_t whole(json value, int64_t low, int64_t high)
{
    double found = number(value, (double)low - 1);
    return found >= (double)low && found <= (double)high && found == floor(found) ? (int64_t)found : low - 1;
}

/* A list of up to `most` whole numbers from 1 to `high`; returns how many, -1 where it is none. */
static int whole_list(json list, int *numbers, int most, int high)
{
    json key = {NULL, NULL}, value = {NULL, NULL};
    const char *at = NULL;
    int count = 0;
    if (list.begin == NULL || *list.begin != '[')
        return -1;
    while (next_entry(list, &at, &key, &value)) {
        if (count == most || (numbers[count++] = (int)whole(value, 1, high)) < 1)
            return -1;
    }
    return count;
}

/* ------------------------------------------------------------------------------------------------------- tensors */

/* A model's folder in memory. */
typedef struct folder {
    json config;  /* the whole of config.json */
    json model;   /* its member "model" */
    json tensors; /* the header of model.safetensors */
    const uint8_t *data;
    size_t data_bytes;
    const uint8_t *weights;
    size_t weight_bytes;
} folder;

typedef struct tensor {
    json name, type;
    int axes;
    int64_t shape[4], count;
    size_t size; /* bytes a number */
    const uint8_t *data;
} tensor;

#define MOST_TENSORS 1024
#define MOST_HEADER ((uint64_t)1 << 19) /* bytes: so that looking through it takes no time worth telling */

static size_t type_size(json type)
{
    if (is_text(type, "\"F16\""))
        return 2;
    if (is_text(type, "\"F32\""))
        return 4;
    return is_text(type, "\"I64\"") || is_text(type, "\"F64\"") ? 8 : 0;
}

/* The tensor that an entry of the header describes; 0 where that cannot be. */
static int tensor_of(const folder *of, json name, json entry, tensor *found)
{
    json key = {NULL, NULL}, value = {NULL, NULL}, offsets = member(entry, "data_offsets"),
         shape = member(entry, "shape");
    int64_t ends[2] = {-1, -1};
    const char *at = NULL;
    int axis;
    found->name = name;
    found->type = member(entry, "dtype");
    found->size = type_size(found->type);
    if (is_null(offsets) || is_null(shape) || *offsets.begin != '[' || *shape.begin != '[')
        return 0;
    for (axis = 0; axis < 2 && next_entry(offsets, &at, &key, &value); axis++)
        ends[axis] = whole(value, 0, (int64_t)1 << 52);
    if (ends[0] < 0 || ends[1] < ends[0] || (uint64_t)ends[1] > of->data_bytes)
        return 0;
    at = NULL;
    found->count = 1;
    for (found->axes = 0; next_entry(shape, &at, &key, &value); found->axes++) {
        int64_t length = whole(value, 1, (int64_t)1 << 28);
        if (found->axes == 4 || length < 1 || found->count > ((int64_t)1 << 32) / length)
            return 0;
        found->shape[found->axes] = length;
        found->count *= length;
    }
    found->data = of->data + ends[0];
    return found->size == 0 || (uint64_t)(ends[1] - ends[0]) == (uint64_t)found->count * found->size;
}

/* The tensor `format`, of which the first two axes are known (a third may follow, `third` long; 0: there is none). */
static int find_tensor(const folder *of, tensor *found, int64_t first, int64_t second, int64_t third,
                       vqaudio_error *error, const char *format, ...)
{
    char name[128];
    va_list words;
    int fits;
    va_start(words, format);
    vsnprintf(name, sizeof name, format, words);
    va_end(words);
    if (is_null(member(of->tensors, name)))
        return fail(error, VQAUDIO_BAD_MODEL, "the weights have no %s: copy the model anew", name);
    fits = tensor_of(of, of->tensors, member(of->tensors, name), found) && (found->size == 2 || found->size == 4);
    fits = fits && found->axes == (second ? third ? 3 : 2 : 1) && found->shape[0] == first;
    fits = fits && (!second || found->shape[1] == second) && (!third || found->shape[2] == third);
    return fits || fail(error, VQAUDIO_BAD_MODEL, "%s does not fit the configuration: copy the model anew", name);
}

static float tensor_at(const tensor *of, int64_t index)
{
    if (of->size == 2)
        return half_to_float((uint16_t)little(of->data + 2 * index, 2));
    return float_of_bits((uint32_t)little(of->data + 4 * index, 4));
}

/* All its numbers in float32; NULL where one is not finite. */
static float *tensor_floats(pool *p, const tensor *of, vqaudio_error *error)
{
    float *numbers = take(p, (size_t)of->count, sizeof *numbers);
    int64_t i;
    if (numbers == NULL) {
        no_memory(error);
        return NULL;
    }
    for (i = 0; i < of->count; i++) {
        numbers[i] = tensor_at(of, i);
        if (!(fabs((double)numbers[i]) <= 3.4e38)) {
            fail(error, VQAUDIO_BAD_MODEL, "the weights hold what is no number: copy the model anew");
            return NULL;
        }
    }
    return numbers;
}

static int open_folder(folder *of, const void *weights, size_t weight_bytes, const void *config, size_t config_bytes,
                       vqaudio_error *error)
{
    json key = {NULL, NULL}, value = {NULL, NULL};
    const char *at = NULL;
    uint64_t header;
    int count = 0;
    of->weights = weights;
    of->weight_bytes = weight_bytes;
    of->config = json_of(config, config_bytes);
    of->model = member(of->config, "model");
    if (is_null(of->model) || *of->model.begin != '{')
        return fail(error, VQAUDIO_BAD_MODEL, "config.json is not that of a model: give one out of a model's folder");
    header = weight_bytes < 8 ? 0 : little(of->weights, 8);
    if (header < 2 || header > weight_bytes - 8 || header > MOST_HEADER)
        return fail(error, VQAUDIO_BAD_MODEL, "model.safetensors ends too soon, or is none: copy the model anew");
    of->tensors = json_of((const char *)of->weights + 8, (size_t)header);
    of->data = of->weights + 8 + header;
    of->data_bytes = weight_bytes - 8 - (size_t)header;
    while (count <= MOST_TENSORS && next_entry(of->tensors, &at, &key, &value))
        count++;
    if (is_null(of->tensors) || *of->tensors.begin != '{' || count > MOST_TENSORS)
        return fail(error, VQAUDIO_BAD_MODEL, "the header of model.safetensors is damaged: copy the model anew");
    return 1;
}

/* ----------------------------------------------------------------------------------------- the name of the codes */

/* Names of today, and those of before by which fingerprints go. */
static const char *const OLD_KEYS[][2] = {{"phases", "marks"},
                                          {"num_quantizers", "stages"},
                                          {"frames_per_vector", "frames_per_token"},
                                          {"augment", "perturb"}};

#define MOST_KEYS 64

static json old_key(json key)
{
    size_t i;
    for (i = 0; i < sizeof OLD_KEYS / sizeof *OLD_KEYS; i++)
        if (is_text(key, OLD_KEYS[i][0])) {
            key.begin = OLD_KEYS[i][1];
            key.end = key.begin + strlen(key.begin);
        }
    return key;
}

static int compared(json a, json b)
{
    size_t first = (size_t)(a.end - a.begin), second = (size_t)(b.end - b.begin);
    int order = memcmp(a.begin, b.begin, LEAST(first, second));
    return order ? order : (first > second) - (first < second);
}

/* Adds a value as Python's json.dumps(value, sort_keys=True) writes it; `old`: with the keys of before. */
static int add_sorted(sha256 *sha, json value, int old)
{
    json keys[MOST_KEYS], values[MOST_KEYS], key = {NULL, NULL}, of = {NULL, NULL};
    const char *at = NULL;
    int count = 0, i, j, object;
    if (is_null(value)) {
        sha256_text(sha, "null");
        return 1;
    }
    object = *value.begin == '{';
    if (!object && *value.begin != '[') {
        sha256_add(sha, value.begin, (size_t)(value.end - value.begin));
        return 1;
    }
    sha256_text(sha, object ? "{" : "[");
    for (; next_entry(value, &at, &key, &of); count += object) {
        if (!object) {
            if (count++)
                sha256_text(sha, ", ");
            if (!add_sorted(sha, of, old))
                return 0;
            continue;
        }
        if (count == MOST_KEYS)
            return 0;
        key = old ? old_key(key) : key;
        for (i = count; i > 0 && compared(key, keys[i - 1]) < 0; i--) {
            keys[i] = keys[i - 1];
            values[i] = values[i - 1];
        }
        keys[i] = key;
        values[i] = of;
    }
    for (j = 0; object && j < count; j++) {
        sha256_text(sha, j ? ", \"" : "\"");
        sha256_add(sha, keys[j].begin, (size_t)(keys[j].end - keys[j].begin));
        sha256_text(sha, "\": ");
        if (!add_sorted(sha, values[j], old))
            return 0;
    }
    sha256_text(sha, object ? "}" : "]");
    return 1;
}

/* The configuration's part of the name: what its codes are. */
static int add_contract(sha256 *sha, json model, int64_t samples_per_vector)
{
    json quantizer = member(model, "quantizer");
    char number_text[64];
    int well = 1;
    sha256_text(sha, "{\"classes\": ");
    well &= add_sorted(sha, member(model, "classes"), 1);
    sha256_text(sha, ", \"kind\": ");
    well &= add_sorted(sha, member(model, "kind"), 1);
    sha256_text(sha, ", \"latents\": ");
    well &= add_sorted(sha, member(model, "latents"), 1);
    sha256_text(sha, ", \"prior\": ");
    well &= add_sorted(sha, member(model, "prior"), 1);
    sha256_text(sha, ", \"quantizer\": {\"code_dim\": ");
    well &= add_sorted(sha, member(quantizer, "code_dim"), 1);
    sha256_text(sha, ", \"codebook_size\": ");
    well &= add_sorted(sha, member(quantizer, "codebook_size"), 1);
    sha256_text(sha, ", \"stages\": ");
    well &= add_sorted(sha, member_of_old(quantizer, "num_quantizers", "stages"), 1);
    sha256_text(sha, "}, \"sample_rate_hz\": ");
    well &= add_sorted(sha, member(model, "sample_rate_hz"), 1);
    snprintf(number_text, sizeof number_text,
             ", \"samples_per_vector\": %lld, \"tile\": ", (long long)samples_per_vector);
    sha256_text(sha, number_text);
    well &= add_sorted(sha, member(model, "tile"), 1);
    sha256_text(sha, "}");
    return well;
}

static int begins_with(json name, const char *text)
{
    size_t length = strlen(text);
    return (size_t)(name.end - name.begin) >= length && memcmp(name.begin, text, length) == 0;
}

static int ends_with(json name, const char *text)
{
    size_t length = strlen(text);
    return (size_t)(name.end - name.begin) >= length && memcmp(name.end - length, text, length) == 0;
}

/* A tensor's name of before: "phase_embedding" was "marks". Into `text`; 0 where it is too long. */
static int old_name(json name, char *text, size_t room)
{
    static const char now[] = ".phase_embedding.", then[] = ".marks.";
    size_t length = (size_t)(name.end - name.begin);
    char *found;
    if (length >= room)
        return 0;
    memcpy(text, name.begin, length);
    text[length] = 0;
    if ((found = strstr(text, now)) != NULL) {
        memcpy(found, then, sizeof then - 1);
        memmove(found + sizeof then - 1, found + sizeof now - 1, strlen(found + sizeof now - 1) + 1);
    }
    return strlen(text) > 0;
}

static void add_tensor(sha256 *sha, const char *name, const tensor *of)
{
    static const char *const kinds[] = {"<f2", "<f4", "<f8", "<i8"};
    int which = of->size == 2 ? 0 : of->size == 4 ? 1 : is_text(of->type, "\"F64\"") ? 2 : 3, axis;
    char text[32];
    sha256_text(sha, name);
    sha256_text(sha, " ");
    sha256_text(sha, kinds[which]);
    sha256_text(sha, " (");
    for (axis = 0; axis < of->axes; axis++) {
        snprintf(text, sizeof text, "%lld%s", (long long)of->shape[axis], axis + 1 < of->axes ? ", " : "");
        sha256_text(sha, text);
    }
    sha256_text(sha, of->axes == 1 ? ",)" : ")");
    sha256_add(sha, of->data, (size_t)of->count * of->size);
}

#define NAME_ROOM 128

/* The tensors that give codes a meaning, sorted by their names of before. */
static int add_tensors(sha256 *sha, const folder *of)
{
    char last[NAME_ROOM] = "", best[NAME_ROOM], name[NAME_ROOM];
    for (;;) { /* the next name after `last`, as long as there is one: they are few */
        json key = {NULL, NULL}, entry = {NULL, NULL}, chosen = {NULL, NULL};
        const char *at = NULL;
        tensor found;
        best[0] = 0;
        while (next_entry(of->tensors, &at, &key, &entry)) {
            if (!begins_with(key, "prior.") && !(begins_with(key, "quantizer.") && ends_with(key, "codebook")))
                continue;
            if (!old_name(key, name, sizeof name))
                return 0;
            if (strcmp(name, last) > 0 && (best[0] == 0 || strcmp(name, best) < 0)) {
                strcpy(best, name);
                chosen = entry;
            }
        }
        if (best[0] == 0)
            return 1;
        if (!tensor_of(of, chosen, chosen, &found) || found.size == 0)
            return 0;
        add_tensor(sha, best, &found);
        strcpy(last, best);
    }
}

/* The 32 bytes by which a model's streams name it: vqaudio.models.checkpoint.fingerprint. */
static int fingerprint(const folder *of, int64_t samples_per_vector, uint8_t digest[32], vqaudio_error *error)
{
    int64_t version = whole(member(of->config, "format_version"), 1, 2);
    sha256 sha;
    int well = version >= 1;
    sha256_start(&sha);
    if (version == 1) {
        well = add_sorted(&sha, of->model, 0);
        sha256_add(&sha, of->weights, of->weight_bytes);
    } else if (version == 2) {
        well = add_contract(&sha, of->model, samples_per_vector) && add_tensors(&sha, of);
    }
    sha256_end(&sha, digest);
    return well || fail(error, VQAUDIO_BAD_MODEL, "the model is not of a format that this decoder reads: 1 or 2");
}

/* ---------------------------------------------------------------------------------------- the prior, in integers */

/* The arithmetic of vqaudio/kernels/fixed_point.py and wavenet_integer.py, which say why nothing overflows. */

#define ONE_BITS 14
#define ONE (1 << ONE_BITS)
#define TANH_BITS 10
#define TANH_REACH (8 << TANH_BITS)
#define LOGIT_BITS 8
#define SHARE_BITS 38
#define FREQUENCY_BITS 24
#define NARROW_LIMIT ((int64_t)1 << 30)
#define WIDE_LIMIT ((int64_t)1 << 61)
#define MOST_WEIGHT_BITS 20
#define LEAST_WEIGHT_BITS -40
#define MOST_STREAM_BITS 16
#define MOST_HEAD_BITS 20
#define EXPONENTIALS 4438 /* from 2**24 down to the first that rounds to 0 */
#define TABLES_CRC 0x00c5e6b1u

#define MOST_LAYERS 256
#define MOST_WIDTH 4096 /* channels of a layer of any network */
#define MOST_DILATION 65536

/* A WaveNet over tokens. Matrices lie output after output. */
typedef struct prior {
    int levels, residual, skip, hidden, layers, phases;
    int dilations[MOST_LAYERS], narrow[MOST_LAYERS], gate_shift[MOST_LAYERS];
    int residual_shift, skip_shift, hidden_shift, logits_shift;
    size_t ring; /* numbers that the layers remember */
    int32_t *embedding, *taps_bias, *out_bias;
    int16_t *taps, *out, *hidden_weights, *logits_weights;
    int64_t *hidden_bias, *logits_bias;
    int32_t *tanh;
    int64_t *exp;
} prior;

/* x / 2**by, rounded down: what >> does of negative numbers is the compiler's to say. */
static int64_t shifted_down(int64_t x, int by)
{
    return x >= 0 ? x >> by : ~(~x >> by);
}

static int32_t shifted_down32(int32_t x, int by)
{
    return x >= 0 ? x >> by : ~(~x >> by);
}

static int64_t half(int shift)
{
    return ((int64_t)1 << shift) >> 1;
}

/* The bound of what was bounded by `reach` after a rounding shift. */
static int64_t shifted(int64_t reach, int shift)
{
    return (reach + half(shift)) >> shift;
}

static int narrowing(int64_t reach, int64_t most)
{
    int shift = 0;
    while (shifted(reach, shift) > most)
        shift++;
    return shift;
}

/* x at a position, rounded to even: the product by a power of two is exact. */
static double at_position(double x, int position)
{
    return rint(ldexp(x, position));
}

/* The largest position up to `most` at which bound + whole / 2**of, and a unit for each rounding, stay below the limit;
   worked out exactly: of >= most. */
static int position_of(double bound, int64_t whole_part, int of, int64_t roundings, int most)
{
    int position = most;
    for (;; position--) {
        double first = ldexp(bound, position), floor_of = floor(first), rest;
        int shift = LEAST(of - position, 62);
        int64_t second = whole_part >> shift;
        rest = ldexp((double)(whole_part - (second << shift)), -shift); /* of both: exact, for shift is at most 53 */
        if (floor_of < 4e18 &&
            (int64_t)floor_of + second + (first - floor_of >= 1 - rest) + roundings + 1 < NARROW_LIMIT)
            return position;
    }
}

/* A matrix in 16 bits: its position, and what bounds each output. */
typedef struct fitted {
    int16_t *weights;
    int64_t *bias, *reach;
    int position;
} fitted;

/* The matrix [outputs][inputs] at the largest position at which no sum can reach `limit`, its inputs being at
   `position` and at most `reach`. 0 where there is none. */
static int fit(fitted *found, const float *matrix, const float *bias, size_t outputs, size_t inputs, int position,
               int64_t reach, int64_t limit)
{
    double largest = 0;
    size_t i, j;
    int exponent = 0, bits;
    for (i = 0; i < outputs * inputs; i++)
        largest = MOST(largest, fabs((double)matrix[i]));
    frexp(largest, &exponent);
    for (bits = LEAST(MOST_WEIGHT_BITS, 15 - exponent); bits > LEAST_WEIGHT_BITS; bits--) {
        int fits = 1;
        for (i = 0; fits && i < outputs; i++) {
            double offset = at_position((double)bias[i], bits + position);
            int64_t sum = 0;
            fits = fabs(offset) < (double)limit;
            for (j = 0; fits && j < inputs; j++) {
                double value = at_position((double)matrix[i * inputs + j], bits);
                fits = fabs(value) <= 32767;
                found->weights[i * inputs + j] = (int16_t)(fits ? value : 0);
                sum += (int64_t)(fits ? fabs(value) : 0);
            }
            if (!fits)
                break;
            found->bias[i] = (int64_t)offset;
            fits = sum <= (limit - 1) / MOST(reach, 1);
            found->reach[i] = fits ? sum * reach + (int64_t)fabs(offset) : limit;
            fits = found->reach[i] < limit;
        }
        if (fits) {
            found->position = bits + position;
            return 1;
        }
    }
    return 0;
}

/* tanh and exp in integers. No entry lies nearer than 4e-5 to where rounding turns, so that any C library's exp gives
   the same ones; that is checked all the same. */
static int fill_tables(prior *w, vqaudio_error *error)
{
    uint32_t crc;
    uint8_t *bytes;
    int i;
    for (i = 0; i <= TANH_REACH; i++) {
        double power = exp(2.0 * i / (1 << TANH_BITS));
        int32_t value = (int32_t)rint(ONE * ((power - 1) / (power + 1)));
        if (i < TANH_REACH)
            w->tanh[TANH_REACH + i] = value;
        w->tanh[TANH_REACH - i] = -value;
    }
    for (i = 0; i < EXPONENTIALS; i++)
        w->exp[i] = (int64_t)rint(ldexp(exp(-(double)i / (1 << LOGIT_BITS)), FREQUENCY_BITS));
    bytes = malloc(4 * (2 * TANH_REACH + EXPONENTIALS));
    if (bytes == NULL)
        return no_memory(error);
    for (i = 0; i < 4 * (2 * TANH_REACH + EXPONENTIALS); i++) {
        int64_t value = i / 4 < 2 * TANH_REACH ? w->tanh[i / 4] : w->exp[i / 4 - 2 * TANH_REACH];
        bytes[i] = (uint8_t)((uint64_t)value >> (8 * (i % 4)));
    }
    crc = crc32_of(bytes, (size_t)(4 * (2 * TANH_REACH + EXPONENTIALS)));
    free(bytes);
    return crc == TABLES_CRC ||
           fail(error, VQAUDIO_NOT_SUPPORTED, "this machine's exp is wrong: the tables are %08lx", (unsigned long)crc);
}

/* What the stack's layers are made of, in floats, layer after layer. */
typedef struct layers {
    float *embedding, *phases, *taps, *taps_bias, *out, *out_bias;
} layers;

static int too_large(vqaudio_error *error)
{
    return fail(error, VQAUDIO_BAD_MODEL, "the prior's layers multiply up to numbers too large for integers");
}

/* Puts the tensor `name` of the layer behind those that are there. */
static int add_layer(const folder *of, float *to, int layer, const char *name, int64_t outputs, int64_t inputs,
                     vqaudio_error *error)
{
    tensor found;
    int64_t i, count = outputs * MOST(inputs, 1);
    if (!find_tensor(of, &found, outputs, inputs, 0, error, "prior.wavenet.layers.%d.%s", layer, name))
        return 0;
    for (i = 0; i < count; i++) {
        to[layer * count + i] = tensor_at(&found, i);
        if (!(fabs((double)to[layer * count + i]) < 65536))
            return fail(error, VQAUDIO_BAD_MODEL, "the prior has weights that are not finite or beyond 65536");
    }
    return 1;
}

static int read_layers(pool *p, const folder *of, const prior *w, layers *l, vqaudio_error *error)
{
    int64_t r = w->residual, mixed = w->residual + w->skip;
    tensor found;
    int i, well = 1;
    l->taps = take(p, (size_t)(w->layers * 2 * r), (size_t)(2 * r) * sizeof(float));
    l->taps_bias = take(p, (size_t)w->layers, (size_t)(2 * r) * sizeof(float));
    l->out = take(p, (size_t)(w->layers * mixed), (size_t)r * sizeof(float));
    l->out_bias = take(p, (size_t)w->layers, (size_t)mixed * sizeof(float));
    l->phases = take(p, (size_t)r, sizeof(float)); /* a row of zeros, where there are none */
    if (p->failed)
        return no_memory(error);
    for (i = 0; well && i < w->layers; i++)
        well = add_layer(of, l->taps, i, "taps.weight", 2 * r, 2 * r, error) &&
               add_layer(of, l->taps_bias, i, "taps.bias", 2 * r, 0, error) &&
               add_layer(of, l->out, i, "out.weight", mixed, r, error) &&
               add_layer(of, l->out_bias, i, "out.bias", mixed, 0, error);
    if (!well || !find_tensor(of, &found, w->levels + 1, r, 0, error, "prior.wavenet.embedding.weight"))
        return 0;
    if ((l->embedding = tensor_floats(p, &found, error)) == NULL)
        return 0;
    if (is_null(member(of->config, "model")) || w->phases == 1)
        return 1;
    if (!is_null(member(of->tensors, "prior.wavenet.marks.weight")))
        well = find_tensor(of, &found, w->phases, r, 0, error, "prior.wavenet.marks.weight");
    else
        well = find_tensor(of, &found, w->phases, r, 0, error, "prior.wavenet.phase_embedding.weight");
    return well && (l->phases = tensor_floats(p, &found, error)) != NULL;
}

static int quantise_taps(pool *p, prior *w, const layers *l, int stream, const int64_t *reaches, vqaudio_error *error)
{
    int r = w->residual, i, j;
    fitted f;
    f.bias = take(p, (size_t)(2 * r), sizeof(int64_t));
    f.reach = take(p, (size_t)(2 * r), sizeof(int64_t));
    if (p->failed)
        return no_memory(error);
    for (i = 0; i < w->layers; i++) {
        size_t matrix = (size_t)4 * (size_t)r * (size_t)r;
        int64_t reach;
        w->narrow[i] = narrowing(reaches[i], 32767);
        reach = shifted(reaches[i], w->narrow[i]);
        f.weights = w->taps + (size_t)i * matrix;
        if (!fit(&f, l->taps + (size_t)i * matrix, l->taps_bias + 2 * r * i, (size_t)(2 * r), (size_t)(2 * r),
                 stream - w->narrow[i], reach, NARROW_LIMIT))
            return too_large(error);
        w->gate_shift[i] = f.position - TANH_BITS;
        if (w->gate_shift[i] < 0 || w->gate_shift[i] > 29)
            return too_large(error);
        for (j = 0; j < 2 * r; j++)
            w->taps_bias[2 * r * i + j] = (int32_t)(f.bias[j] + half(w->gate_shift[i] + (j >= r)));
    }
    return 1;
}

/* Number k of the embeddings of all symbols in all phases. */
static double marked(const prior *w, const layers *l, size_t k)
{
    size_t r = (size_t)w->residual, cycle = (size_t)w->phases * r;
    return (double)l->embedding[k / cycle * r + k % r] + (double)l->phases[k % cycle];
}

/* The skips' sum: its shift and its position, and a bound of it, from the bounds of the layers' outputs. */
static int place_skips(prior *w, const int64_t *reach, int from, int *skip_position, int64_t *skip_reach,
                       vqaudio_error *error)
{
    int mixed = w->residual + w->skip, i, j;
    int64_t most = 0, total;
    for (j = w->residual; j < mixed; j++) {
        for (total = 0, i = 0; i < w->layers; i++)
            total += reach[i * mixed + j];
        most = MOST(most, total);
    }
    *skip_position = position_of(0, most, from, w->layers, LEAST(MOST_HEAD_BITS, from));
    w->skip_shift = from - *skip_position;
    if (w->skip_shift > 29)
        return too_large(error);
    for (*skip_reach = 0, j = w->residual; j < mixed; j++) {
        for (total = 0, i = 0; i < w->layers; i++)
            total += shifted(reach[i * mixed + j], w->skip_shift);
        *skip_reach = MOST(*skip_reach, total);
    }
    return 1;
}

/* The stack; gives the position of the skips' sum and a bound of it. */
static int quantise_layers(pool *p, prior *w, const layers *l, int *skip_position, int64_t *skip_reach,
                           vqaudio_error *error)
{
    int r = w->residual, mixed = r + w->skip, i, j, stream;
    int64_t reaches[MOST_LAYERS], streams[MOST_LAYERS], total = 0, largest = 0;
    double farthest = 0;
    size_t k, count = (size_t)(w->levels + 1) * (size_t)w->phases * (size_t)r;
    fitted f;
    f.weights = w->out;
    f.bias = take(p, (size_t)w->layers * (size_t)mixed, sizeof(int64_t));
    f.reach = take(p, (size_t)w->layers * (size_t)mixed, sizeof(int64_t));
    if (p->failed)
        return no_memory(error);
    if (!fit(&f, l->out, l->out_bias, (size_t)(w->layers * mixed), (size_t)r, ONE_BITS, ONE, NARROW_LIMIT))
        return too_large(error);
    for (i = 0; i < w->layers; i++) {
        for (streams[i] = 0, j = 0; j < r; j++)
            streams[i] = MOST(streams[i], f.reach[i * mixed + j]);
        total += streams[i];
    }
    for (k = 0; k < count; k++)
        farthest = MOST(farthest, fabs(marked(w, l, k)));
    if (!(farthest < 131072))
        return fail(error, VQAUDIO_BAD_MODEL, "the prior has weights beyond 65536");
    stream = position_of(farthest, total, f.position, w->layers, LEAST(MOST_STREAM_BITS, f.position));
    w->residual_shift = f.position - stream;
    for (k = 0; k < count; k++) {
        w->embedding[k] = (int32_t)at_position(marked(w, l, k), stream);
        largest = MOST(largest, w->embedding[k] < 0 ? -(int64_t)w->embedding[k] : w->embedding[k]);
    }
    if (w->residual_shift > 29)
        return too_large(error);
    for (i = 0; i < w->layers; i++) {
        reaches[i] = largest;
        largest += shifted(streams[i], w->residual_shift);
    }
    if (!place_skips(w, f.reach, f.position, skip_position, skip_reach, error))
        return 0;
    for (i = 0; i < w->layers * mixed; i++)
        w->out_bias[i] = (int32_t)(f.bias[i] + half(i % mixed < r ? w->residual_shift : w->skip_shift));
    return quantise_taps(p, w, l, stream, reaches, error);
}

/* A matrix and its bias out of the head. */
static int head_matrix(pool *p, const folder *of, const char *name, int outputs, int inputs, float **matrix,
                       float **bias, vqaudio_error *error)
{
    tensor found;
    int64_t i;
    if (!find_tensor(of, &found, outputs, inputs, 0, error, "prior.wavenet.%s.weight", name))
        return 0;
    if ((*matrix = tensor_floats(p, &found, error)) == NULL)
        return 0;
    for (i = 0; i < found.count; i++)
        if (!(fabs((double)(*matrix)[i]) < 65536))
            return fail(error, VQAUDIO_BAD_MODEL, "the prior has weights beyond 65536");
    if (!find_tensor(of, &found, outputs, 0, 0, error, "prior.wavenet.%s.bias", name))
        return 0;
    return (*bias = tensor_floats(p, &found, error)) != NULL;
}

static int quantise_head(pool *p, const folder *of, prior *w, int position, int64_t reach, vqaudio_error *error)
{
    float *matrix = NULL, *bias = NULL;
    int i;
    fitted f;
    if (!head_matrix(p, of, "hidden", w->hidden, w->skip, &matrix, &bias, error))
        return 0;
    f.weights = w->hidden_weights;
    f.bias = w->hidden_bias;
    f.reach = take(p, (size_t)MOST(w->hidden, w->levels), sizeof(int64_t));
    if (p->failed)
        return no_memory(error);
    if (!fit(&f, matrix, bias, (size_t)w->hidden, (size_t)w->skip, position, reach, WIDE_LIMIT))
        return too_large(error);
    for (reach = 0, i = 0; i < w->hidden; i++)
        reach = MOST(reach, f.reach[i]);
    w->hidden_shift = MOST(narrowing(reach, 2147483647), f.position - MOST_HEAD_BITS);
    if (w->hidden_shift > 60)
        return too_large(error);
    for (i = 0; i < w->hidden; i++)
        w->hidden_bias[i] += half(w->hidden_shift);
    position = f.position - w->hidden_shift;
    if (!head_matrix(p, of, "logits", w->levels, w->hidden, &matrix, &bias, error))
        return 0;
    f.weights = w->logits_weights;
    f.bias = w->logits_bias;
    if (!fit(&f, matrix, bias, (size_t)w->levels, (size_t)w->hidden, position, shifted(reach, w->hidden_shift),
             WIDE_LIMIT))
        return too_large(error);
    w->logits_shift = f.position - LOGIT_BITS;
    if (w->logits_shift < 0 || w->logits_shift > 60)
        return too_large(error);
    for (i = 0; i < w->levels; i++)
        w->logits_bias[i] += half(w->logits_shift);
    return 1;
}

static void take_prior(pool *p, prior *w)
{
    size_t r = (size_t)w->residual, mixed = r + (size_t)w->skip, count = (size_t)w->layers;
    w->embedding = take(p, (size_t)(w->levels + 1) * (size_t)w->phases, r * sizeof(int32_t));
    w->taps = take(p, count * 4 * r, r * sizeof(int16_t));
    w->taps_bias = take(p, count * 2, r * sizeof(int32_t));
    w->out = take(p, count * mixed, r * sizeof(int16_t));
    w->out_bias = take(p, count, mixed * sizeof(int32_t));
    w->hidden_weights = take(p, (size_t)w->hidden, (size_t)w->skip * sizeof(int16_t));
    w->hidden_bias = take(p, (size_t)w->hidden, sizeof(int64_t));
    w->logits_weights = take(p, (size_t)w->levels, (size_t)w->hidden * sizeof(int16_t));
    w->logits_bias = take(p, (size_t)w->levels, sizeof(int64_t));
    w->tanh = take(p, 2 * TANH_REACH, sizeof(int32_t));
    w->exp = take(p, EXPONENTIALS, sizeof(int64_t));
}

/* Reads the prior that `table` describes into `w`, memory from `p`; NULL in *w where it needs to be told a speaker. */
static int load_prior(pool *p, const folder *of, json table, int codebook_size, int num_quantizers, prior *w,
                      vqaudio_error *error)
{
    pool scratch = {NULL, 0};
    int64_t skip_reach = 0;
    int skip_position = 0, i, well, phases = num_quantizers > 1 ? num_quantizers : 0;
    layers l;
    w->levels = codebook_size;
    w->residual = (int)whole(member(table, "residual"), 1, MOST_WIDTH);
    w->skip = (int)whole(member(table, "skip"), 1, MOST_WIDTH);
    w->hidden = (int)whole(member(table, "hidden"), 1, MOST_WIDTH);
    w->layers = whole_list(member(table, "dilations"), w->dilations, MOST_LAYERS, MOST_DILATION);
    w->phases = MOST(phases, 1);
    well = w->residual > 0 && w->skip > 0 && w->hidden > 0 && w->layers > 0;
    well = well && whole(member(table, "levels"), 2, 65536) == codebook_size;
    well = well && whole(member_of_old(table, "phases", "marks"), 0, 8) == (num_quantizers > 1 ? phases : 0);
    if (!well)
        return fail(error, VQAUDIO_BAD_MODEL, "config.json: the prior is none that this decoder knows");
    for (w->ring = 0, i = 0; i < w->layers; i++)
        w->ring += (size_t)w->dilations[i] * (size_t)w->residual;
    take_prior(p, w);
    if (p->failed)
        return no_memory(error);
    well = read_layers(&scratch, of, w, &l, error) &&
           quantise_layers(&scratch, w, &l, &skip_position, &skip_reach, error) &&
           quantise_head(&scratch, of, w, skip_position, skip_reach, error) && fill_tables(w, error);
    give_back(&scratch);
    return well;
}

/* What one stream remembers of the tokens, and room to work in. */
typedef struct prior_state {
    int16_t *ring, *pair, *z;
    int32_t *x, *skips, *gates, *mixed, *hidden;
    int64_t *logits;
    int32_t *frequencies;
    int steps;
} prior_state;

static void take_prior_state(pool *p, const prior *w, prior_state *s)
{
    size_t r = (size_t)w->residual;
    s->ring = take(p, w->ring, sizeof(int16_t));
    s->pair = take(p, 2 * r, sizeof(int16_t));
    s->z = take(p, r, sizeof(int16_t));
    s->x = take(p, r, sizeof(int32_t));
    s->skips = take(p, (size_t)w->skip, sizeof(int32_t));
    s->gates = take(p, 2 * r, sizeof(int32_t));
    s->mixed = take(p, r + (size_t)w->skip, sizeof(int32_t));
    s->hidden = take(p, (size_t)w->hidden, sizeof(int32_t));
    s->logits = take(p, (size_t)w->levels, sizeof(int64_t));
    s->frequencies = take(p, (size_t)w->levels, sizeof(int32_t));
}

static void start_prior(const prior *w, prior_state *s)
{
    memset(s->ring, 0, w->ring * sizeof(int16_t));
    s->steps = 0;
}

/* The sum of products of 16 bits; it stays within 32. */
static int32_t dot16(const int16_t *restrict a, const int16_t *restrict b, int count)
{
    int32_t sum = 0;
    int i;
    for (i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

static int64_t dot_wide(const int32_t *restrict a, const int16_t *restrict b, int count)
{
    int64_t sum = 0;
    int i;
    for (i = 0; i < count; i++)
        sum += (int64_t)a[i] * b[i];
    return sum;
}

static int32_t bent(const prior *w, int32_t sum, int shift)
{
    int32_t at = shifted_down32(sum, shift);
    return w->tanh[LEAST(MOST(at, -TANH_REACH), TANH_REACH - 1) + TANH_REACH];
}

/* One layer: reads and replaces its oldest input, and adds to the streams. */
static void run_layer(const prior *w, prior_state *s, int layer, int16_t *memory)
{
    int r = w->residual, mixed = r + w->skip, narrow = w->narrow[layer], j;
    const int16_t *taps = w->taps + (size_t)layer * 4 * (size_t)r * (size_t)r;
    const int16_t *out = w->out + (size_t)layer * (size_t)mixed * (size_t)r;
    for (j = 0; j < r; j++) {
        s->pair[j] = memory[j];
        memory[j] = s->pair[r + j] = (int16_t)shifted_down32(s->x[j] + (int32_t)half(narrow), narrow);
    }
    for (j = 0; j < 2 * r; j++)
        s->gates[j] = w->taps_bias[2 * r * layer + j] + dot16(s->pair, taps + (size_t)j * 2 * (size_t)r, 2 * r);
    for (j = 0; j < r; j++) {
        int32_t signal = bent(w, s->gates[j], w->gate_shift[layer]);
        int32_t gate = bent(w, s->gates[r + j], w->gate_shift[layer] + 1);
        s->z[j] = (int16_t)shifted_down32(signal * (ONE + gate) + ONE, ONE_BITS + 1);
    }
    for (j = 0; j < mixed; j++)
        s->mixed[j] = w->out_bias[mixed * layer + j] + dot16(s->z, out + (size_t)j * (size_t)r, r);
    for (j = 0; j < r; j++)
        s->x[j] += shifted_down32(s->mixed[j], w->residual_shift);
    for (j = 0; j < w->skip; j++)
        s->skips[j] += shifted_down32(s->mixed[r + j], w->skip_shift);
}

/* Every symbol gets one; the rest of 2**24 goes by exp(logit), rounded down; what is left, to the likeliest. */
static void share_out(const prior *w, prior_state *s)
{
    int64_t total = 0, top, factor;
    int32_t rest = 1 << FREQUENCY_BITS;
    int likeliest = 0, j;
    for (j = 1; j < w->levels; j++)
        if (s->logits[j] > s->logits[likeliest])
            likeliest = j;
    top = s->logits[likeliest];
    for (j = 0; j < w->levels; j++) {
        s->logits[j] = w->exp[LEAST(top - s->logits[j], EXPONENTIALS - 1)];
        total += s->logits[j];
    }
    factor = ((int64_t)(rest - w->levels) << SHARE_BITS) / total;
    for (j = 0; j < w->levels; j++) {
        s->frequencies[j] = 1 + (int32_t)((s->logits[j] * factor) >> SHARE_BITS);
        rest -= s->frequencies[j];
    }
    s->frequencies[likeliest] += rest;
}

/* How often each symbol comes next, in 2**24, after `symbol`, into `s->frequencies`. */
static void run_prior(const prior *w, prior_state *s, int symbol)
{
    int r = w->residual, i, j;
    size_t start = 0, row = (size_t)symbol * (size_t)w->phases + (size_t)(s->steps % w->phases);
    memcpy(s->x, w->embedding + row * (size_t)r, (size_t)r * sizeof(int32_t));
    memset(s->skips, 0, (size_t)w->skip * sizeof(int32_t));
    for (i = 0; i < w->layers; i++) {
        run_layer(w, s, i, s->ring + start + (size_t)(s->steps % w->dilations[i]) * (size_t)r);
        start += (size_t)w->dilations[i] * (size_t)r;
    }
    s->steps++;
    for (j = 0; j < w->skip; j++)
        s->skips[j] = MOST(s->skips[j], 0);
    for (j = 0; j < w->hidden; j++) {
        int64_t sum = w->hidden_bias[j] + dot_wide(s->skips, w->hidden_weights + (size_t)j * (size_t)w->skip, w->skip);
        s->hidden[j] = (int32_t)MOST(shifted_down(sum, w->hidden_shift), 0);
    }
    for (j = 0; j < w->levels; j++) {
        int64_t sum =
            w->logits_bias[j] + dot_wide(s->hidden, w->logits_weights + (size_t)j * (size_t)w->hidden, w->hidden);
        s->logits[j] = shifted_down(sum, w->logits_shift);
    }
    share_out(w, s);
}

/* -------------------------------------------------------------------------------------------------------- coders */

/* The n-th 32 bits of a payload, beyond whose end there are zeros. */
static uint64_t word_of(const uint8_t *payload, size_t size, uint64_t n)
{
    uint8_t bytes[4] = {0, 0, 0, 0};
    if (4 * n < size)
        memcpy(bytes, payload + 4 * n, (size_t)LEAST(size - 4 * n, (uint64_t)4));
    return big(bytes, 4);
}

/* Codes under the prior; 0 where the payload is not what the encoder makes of any codes. */
static int decode_prior(const prior *w, prior_state *s, const uint8_t *payload, size_t size, size_t count,
                        uint16_t *codes)
{
    uint64_t low = 0, width = UINT64_MAX, point = word_of(payload, size, 0) << 32 | word_of(payload, size, 1),
             words = 2;
    int symbol = w->levels, zeros;
    size_t i;
    start_prior(w, s);
    for (i = 0; i < count; i++) {
        uint64_t share = width >> FREQUENCY_BITS, quantile = (point - low) / share, below = 0;
        run_prior(w, s, symbol);
        if (quantile >= (uint64_t)1 << FREQUENCY_BITS)
            return 0;
        for (symbol = 0; below + (uint64_t)s->frequencies[symbol] <= quantile; symbol++)
            below += (uint64_t)s->frequencies[symbol];
        low += share * below;
        width = share * (uint64_t)s->frequencies[symbol];
        if (width < (uint64_t)1 << 32) {
            low <<= 32;
            width <<= 32;
            point = point << 32 | word_of(payload, size, words++);
        }
        codes[i] = (uint16_t)symbol;
    }
    /* of the numbers that mean these codes, the one with the most zeros at its end is valid, those left out */
    if (size > 4 * words || (size > 0 && payload[size - 1] == 0))
        return 0;
    for (zeros = 64; zeros >= 0; zeros -= 8) {
        uint64_t gap = (0 - low) & (zeros == 64 ? UINT64_MAX : ((uint64_t)1 << zeros) - 1);
        if (gap < width)
            return point - low == gap;
    }
    return 0;
}

static int bits_per_code(uint32_t codebook_size)
{
    int bits = 1;
    while ((codebook_size - 1) >> bits)
        bits++;
    return bits;
}

static int decode_packed(uint32_t codebook_size, const uint8_t *payload, size_t size, size_t count, uint16_t *codes)
{
    int bits = bits_per_code(codebook_size), held = 0;
    uint32_t value = 0;
    size_t i, at = 0;
    if (size != (count * (size_t)bits + 7) / 8)
        return 0;
    for (i = 0; i < count; i++) {
        for (; held < bits; held += 8)
            value = (value & 0xffffu) << 8 | payload[at++];
        held -= bits;
        codes[i] = (uint16_t)(value >> held & ((1u << bits) - 1));
        if (codes[i] >= codebook_size)
            return 0;
    }
    return (value & ((1u << held) - 1)) == 0;
}

/* ----------------------------------------------------------------------------------------------------- container */

#define HEADER_FIXED 50
#define MOST_CHANNELS 1024
#define HEADER_MOST (HEADER_FIXED + 30 + 4 * MOST_CHANNELS + 4)
#define MOST_BLOCKS (1 << 20)
#define BLOCK_HEAD 8
#define CHUNK 4096
#define SCAN_WORK 16 /* bytes checksummed in vain for each byte skipped, at most: keeps hostile files linear */

typedef struct header {
    uint8_t name[32];
    int prior_coded;
    uint32_t rate_hz, channels, codebook_size, tokens_per_block;
    uint64_t tokens, frames, blocks;
    uint32_t most_payload;
    float levels[MOST_CHANNELS];
} header;

/* The bytes of a stream, of which it holds no more than was asked for, and the search for blocks in them. */
typedef struct source {
    vqaudio_read read;
    void *from;
    uint8_t *data;
    size_t begin, end, room;
    int ended;
    uint64_t skipped, wasted;
} source;

/* Reads until `size` bytes are held; 0 where the stream ends before. */
static int fill(source *s, size_t size)
{
    if (s->begin + size > s->room) {
        memmove(s->data, s->data + s->begin, s->end - s->begin);
        s->end -= s->begin;
        s->begin = 0;
    }
    while (s->end - s->begin < size && !s->ended) {
        size_t wanted = size - (s->end - s->begin), more = s->read(s->from, s->data + s->end, wanted);
        s->end += LEAST(more, wanted);
        s->ended = more == 0;
    }
    return s->end - s->begin >= size;
}

/* Drops what stands before the next sync; 0 where the stream ends. */
static int skip_to_sync(source *s)
{
    size_t wanted = 2;
    for (;;) {
        size_t held;
        for (; s->end - s->begin >= 2; s->begin++, s->skipped++)
            if (s->data[s->begin] == 0xb5 && s->data[s->begin + 1] == 0x4e)
                return 1;
        if (s->end - s->begin == 1 && s->data[s->begin] != 0xb5) {
            s->begin++;
            s->skipped++;
        }
        held = s->end - s->begin;
        fill(s, wanted);
        if (s->end - s->begin == held)
            return 0;
        wanted = CHUNK;
    }
}

/* The block that the sync in front starts, if any that may still come; its payload stays in front. */
static int block_here(source *s, const header *h, uint64_t expected, uint64_t *index, size_t *length)
{
    const uint8_t *at;
    if (!fill(s, BLOCK_HEAD))
        return 0;
    at = s->data + s->begin;
    *index = little(at + 2, 3);
    *length = (size_t)little(at + 5, 3);
    if (*index < expected || *index >= h->blocks || *length > h->most_payload)
        return 0;
    if (s->wasted + *length > SCAN_WORK * (s->skipped + h->most_payload))
        return 0;
    if (!fill(s, BLOCK_HEAD + *length + 4))
        return 0;
    at = s->data + s->begin;
    if (crc32_of(at + 2, *length + 6) == little(at + BLOCK_HEAD + *length, 4))
        return 1;
    s->wasted += *length;
    return 0;
}

/* The next whole block that is not before `expected`; 0 where there is none any more. */
static int find_block(source *s, const header *h, uint64_t expected, uint64_t *index, size_t *length)
{
    while (skip_to_sync(s)) {
        if (block_here(s, h, expected, index, length))
            return 1;
        s->begin++;
        s->skipped++;
    }
    return 0;
}

/* Bytes of the header that `data` begins with, its CRC included; 0 where its fixed fields cannot be. */
static size_t header_size(const uint8_t *data, size_t size)
{
    unsigned modality, axes, channels;
    if (size < HEADER_FIXED)
        return 0;
    modality = data[37];
    axes = data[39];
    channels = (unsigned)little(data + 44, 2);
    if (modality < 1 || modality > 2 || axes < 1 || axes > 3 || channels > MOST_CHANNELS)
        return 0;
    return HEADER_FIXED + (size_t)(axes + modality) * 6 + 4 * (size_t)channels + 4;
}

static int is_sealed(const uint8_t *data, size_t size)
{
    size_t own = header_size(data, size);
    return own > 0 && size >= own && crc32_of(data, own - 4) == little(data + own - 4, 4);
}

/* Whether a bit of this byte of the header tells its size. */
static int tells_size(size_t byte)
{
    return byte == 37 || byte == 39 || byte == 44 || byte == 45;
}

/* What flipping a bit changes in a CRC, and then what it changes if a byte more stands behind it. */
static uint32_t eight_steps(uint32_t change)
{
    int i;
    for (i = 0; i < 8; i++)
        change = change >> 1 ^ (change & 1 ? 0xedb88320u : 0);
    return change;
}

/* Flips the one bit that makes the header's CRC right, if exactly one does. A CRC is linear: but for the bits that tell
   the size, it is enough to know what each bit changes in it. */
static void mend(uint8_t *data, size_t size)
{
    size_t own = header_size(data, size), bit, found = 0, count = 0, byte;
    uint32_t wrong = 0, changes[8];
    int whole_header = own > 0 && own <= size, i;
    for (bit = 0; bit < 8 * HEADER_FIXED && bit < 8 * size; bit++) {
        if (!tells_size(bit / 8))
            continue;
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (is_sealed(data, size)) {
            found = bit;
            count++;
        }
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    if (whole_header)
        wrong = crc32_of(data, own - 4) ^ (uint32_t)little(data + own - 4, 4);
    for (i = 0; i < 8; i++)
        changes[i] = eight_steps(1u << i);
    for (i = 0; whole_header && i < 32; i++)
        if (wrong == 1u << i) {
            found = 8 * (own - 4) + (size_t)i;
            count++;
        }
    for (byte = whole_header ? own - 4 : 0; byte-- > 0;)
        for (i = 0; i < 8; i++) {
            if (changes[i] == wrong && !tells_size(byte)) {
                found = 8 * byte + (size_t)i;
                count++;
            }
            changes[i] = eight_steps(changes[i]);
        }
    if (count == 1)
        data[found / 8] ^= (uint8_t)(1 << found % 8);
}

static int refuse(vqaudio_error *error, const char *what)
{
    return fail(error, VQAUDIO_DAMAGED, "header: %s is out of its bounds; get an intact copy of the stream", what);
}

/* The fields of a sealed header of a sound, each within its bounds. */
static int parse_header(const uint8_t *data, header *h, vqaudio_error *error)
{
    uint32_t i;
    memcpy(h->name, data + 5, 32);
    if (data[37] != 1)
        return fail(error, VQAUDIO_NOT_SUPPORTED, "the stream is that of a picture; give one of a sound");
    if (data[38] > 1)
        return refuse(error, "coder");
    if (data[39] != 1)
        return refuse(error, "number of grid axes");
    h->prior_coded = data[38];
    h->rate_hz = (uint32_t)little(data + 40, 4);
    h->channels = (uint32_t)little(data + 44, 2);
    h->codebook_size = (uint32_t)little(data + 46, 2) + 1;
    h->tokens_per_block = (uint32_t)little(data + 48, 2) + 1;
    h->tokens = little(data + 50, 6);
    h->frames = little(data + 56, 6);
    if (h->tokens > (uint64_t)1 << 36)
        return refuse(error, "grid");
    if ((h->tokens == 0) != (h->frames == 0))
        return refuse(error, "shape");
    if (h->rate_hz < 1 || h->rate_hz > 10000000)
        return refuse(error, "sample rate");
    if (h->channels < 1)
        return refuse(error, "channels");
    if (h->codebook_size < 2)
        return refuse(error, "codebook size");
    h->blocks = h->channels * ((h->tokens + h->tokens_per_block - 1) / h->tokens_per_block);
    if (h->blocks > MOST_BLOCKS)
        return refuse(error, "number of blocks");
    h->most_payload = 4 * (uint32_t)LEAST(h->tokens, (uint64_t)h->tokens_per_block) + 64;
    for (i = 0; i < h->channels; i++) {
        h->levels[i] = float_of_bits((uint32_t)little(data + 62 + 4 * i, 4));
        if (!(h->levels[i] >= 0 && (double)h->levels[i] <= 3.4028234663852886e38))
            return refuse(error, "level");
    }
    return 1;
}

static int bits_apart(const uint8_t *a, const uint8_t *b, int count)
{
    int apart = 0, i, bit;
    for (i = 0; i < count; i++)
        for (bit = 0; bit < 8; bit++)
            apart += (a[i] ^ b[i]) >> bit & 1;
    return apart;
}

/* Reads the header, mended where one bit of it is wrong; the blocks then stand in front. */
static int read_header(source *s, header *h, vqaudio_error *error)
{
    static const uint8_t magic[4] = {0x8b, 'V', 'Q', 'A'};
    size_t size;
    fill(s, HEADER_FIXED);
    if (s->end < 4 || bits_apart(s->data, magic, 4) > 1)
        return fail(error, VQAUDIO_NO_STREAM, "this is no .vqa stream: it starts with other bytes");
    if ((size = header_size(s->data, s->end)) > 0)
        fill(s, size);
    if (!is_sealed(s->data, s->end)) {
        fill(s, HEADER_MOST);
        mend(s->data, s->end);
    }
    if (memcmp(s->data, magic, 4) != 0)
        return fail(error, VQAUDIO_NO_STREAM, "this is no .vqa stream: it starts with other bytes");
    if (s->end > 4 && s->data[4] != 1)
        return fail(error, VQAUDIO_NO_STREAM, "the stream has format version %d, this program reads 1", s->data[4]);
    size = header_size(s->data, s->end);
    if (size == 0 && s->end >= HEADER_FIXED)
        return refuse(error, "modality, axes or channels");
    if (size == 0 || s->end < size)
        return fail(error, VQAUDIO_DAMAGED, "the stream ends inside its header; get a whole copy");
    if (!is_sealed(s->data, s->end))
        return fail(error, VQAUDIO_DAMAGED,
                    "the header is damaged beyond repair (its CRC is wrong); get an intact copy");
    s->begin = size;
    return parse_header(s->data, h, error);
}

/* ------------------------------------------------------------------------------------------------ random numbers */

/* NumPy's default_rng([seed, channel]): SeedSequence, PCG64 (O'Neill 2014), and the ziggurat of standard_normal
   (Marsaglia, Tsang 2000). */

#define ZIGGURAT_R 3.6541528853610087963519472518
#define ZIGGURAT_AREA 0.0049286732339746522
#define UNIT_52 4503599627370496.0

/* The strips: rows of x, each with the density at it. */
typedef struct ziggurat {
    double x[257], density[257];
    uint64_t inner[256];
} ziggurat;

typedef struct pcg {
    uint64_t high, low, add_high, add_low;
} pcg;

static void fill_ziggurat(ziggurat *z)
{
    double x = ZIGGURAT_R;
    int i;
    z->density[0] = 1;
    z->x[0] = ZIGGURAT_AREA / exp(-0.5 * x * x); /* as if the strip with the tail were a rectangle */
    for (i = 255; i >= 1; i--) {
        z->x[i] = x;
        z->density[i] = exp(-0.5 * x * x);
        if (i > 1)
            x = sqrt(-2 * log(ZIGGURAT_AREA / x + z->density[i]));
    }
    z->inner[0] = (uint64_t)(ZIGGURAT_R / z->x[0] * UNIT_52);
    z->inner[1] = 0;
    for (i = 2; i < 256; i++)
        z->inner[i] = (uint64_t)(z->x[i - 1] / z->x[i] * UNIT_52);
}

static uint64_t high_product(uint64_t a, uint64_t b)
{
    uint64_t a1 = a >> 32, a0 = a & 0xffffffffu, b1 = b >> 32, b0 = b & 0xffffffffu;
    uint64_t middle = a1 * b0 + (a0 * b0 >> 32), other = a0 * b1 + (middle & 0xffffffffu);
    return a1 * b1 + (middle >> 32) + (other >> 32);
}

static void pcg_step(pcg *g)
{
    const uint64_t high = UINT64_C(2549297995355413924), low = UINT64_C(4865540595714422341);
    uint64_t product = g->low * low;
    g->high = g->high * low + g->low * high + high_product(g->low, low) + g->add_high;
    g->low = product + g->add_low;
    g->high += g->low < product;
}

static uint64_t pcg_next(pcg *g)
{
    uint64_t mixed;
    int by;
    pcg_step(g);
    mixed = g->high ^ g->low;
    by = (int)(g->high >> 58);
    return mixed >> by | mixed << (-by & 63);
}

static uint32_t hashed(uint32_t value, uint32_t *factor, uint32_t by)
{
    value ^= *factor;
    *factor *= by;
    value *= *factor;
    return value ^ value >> 16;
}

static uint32_t mixed_words(uint32_t x, uint32_t y)
{
    uint32_t value = 0xca01f9ddu * x - 0x4973f715u * y;
    return value ^ value >> 16;
}

static void pcg_seed(pcg *g, uint64_t seed, uint32_t channel)
{
    uint32_t entropy[4] = {0, 0, 0, 0}, pool_of[4], factor = 0x43b0d7e5u, words[8];
    uint64_t start_high, start_low;
    int count = 0, i, j;
    entropy[count++] = (uint32_t)seed;
    if (seed >> 32)
        entropy[count++] = (uint32_t)(seed >> 32);
    entropy[count++] = channel;
    for (i = 0; i < 4; i++)
        pool_of[i] = hashed(entropy[i], &factor, 0x931e8875u);
    for (i = 0; i < 4; i++)
        for (j = 0; j < 4; j++)
            if (i != j)
                pool_of[j] = mixed_words(pool_of[j], hashed(pool_of[i], &factor, 0x931e8875u));
    for (factor = 0x8b51f9ddu, i = 0; i < 8; i++)
        words[i] = hashed(pool_of[i % 4], &factor, 0x58f38dedu);
    start_high = words[0] | (uint64_t)words[1] << 32;
    start_low = words[2] | (uint64_t)words[3] << 32;
    g->add_high = words[4] | (uint64_t)words[5] << 32;
    g->add_low = words[6] | (uint64_t)words[7] << 32;
    g->add_high = g->add_high << 1 | g->add_low >> 63;
    g->add_low = g->add_low << 1 | 1;
    g->high = g->low = 0;
    pcg_step(g);
    g->low += start_low;
    g->high += start_high + (g->low < start_low);
    pcg_step(g);
}

static double pcg_uniform(pcg *g)
{
    return (double)(pcg_next(g) >> 11) * (1.0 / 9007199254740992.0);
}

static double pcg_normal(pcg *g, const ziggurat *z)
{
    for (;;) {
        uint64_t bits = pcg_next(g), place = bits >> 9 & 0xfffffffffffff;
        int strip = (int)(bits & 255), negative = (int)(bits >> 8 & 1);
        double x = (double)place * (z->x[strip] / UNIT_52);
        if (place < z->inner[strip])
            return negative ? -x : x;
        if (strip == 0) {
            for (;;) {
                double beyond = -log1p(-pcg_uniform(g)) / ZIGGURAT_R, height = -log1p(-pcg_uniform(g));
                if (height + height > beyond * beyond)
                    return place >> 8 & 1 ? -(ZIGGURAT_R + beyond) : ZIGGURAT_R + beyond;
            }
        }
        if ((z->density[strip - 1] - z->density[strip]) * pcg_uniform(g) + z->density[strip] < exp(-0.5 * x * x))
            return negative ? -x : x;
    }
}

/* ------------------------------------------------------------------------------------------------------- network */

#define PITCHES 64
#define MOST_STACK 64
#define MOST_REACH 4096 /* the sum of a stack's dilations */

/* A matrix [inputs][wide] and its bias [wide]: outputs fill up to a multiple of 8 with zeros, inputs to one of 4. */
typedef struct linear {
    int inputs, outputs, wide;
    float *weights, *bias;
} linear;

/* ReLU, dilated convolution of kernel 3, ReLU, convolution of kernel 1, added to the input. */
typedef struct block {
    int dilation, ahead;
    linear taps[3], point;
} block;

#define FFT_SIZE 1024
#define BINS (FFT_SIZE / 2 + 1)
#define TAPS (FFT_SIZE / 2)

/* Codes to a spectral envelope and a pitch a frame: vqaudio/models/conditioning.py, vocoder_vqvae.py. */
typedef struct network {
    int rate_hz, quantizers, codebook_size, code_dim, channels, features, bands;
    int hop, frames_per_vector, frame_length; /* samples a vector, frames a vector, samples a frame */
    int look_ahead, vectors_back, vectors_on,
        frames_round; /* how far what is predicted depends on codes and frames around */
    int block_count, frame_block_count;
    float *codebooks; /* [quantizers][codebook_size][code_dim] */
    linear into[3], spread, out, bands_head, pitch_head;
    block blocks[MOST_STACK], frame_blocks[MOST_STACK];
    double cut_hz;
    /* the filter */
    float *sharpen; /* [bands][bands] */
    int *upper;     /* of each bin, the band above it */
    float *share;   /* and that band's share of it */
    float cosine[FFT_SIZE], sine[FFT_SIZE];
    ziggurat normal;
} network;

static int padded(int count, int to)
{
    return (count + to - 1) / to * to;
}

/* Two rows of multiply, four inputs each. */
static void add_rows(float *restrict y, float *restrict z, const float *x, const float *u, const float *restrict w,
                     size_t wide)
{
    const float a = x[0], b = x[1], c = x[2], d = x[3], e = u[0], f = u[1], g = u[2], h = u[3];
    size_t i;
    int j;
    for (i = 0; i < wide; i += 8) /* eight at a time even where a compiler is told to be brief */
        for (j = 0; j < 8; j++) {
            const size_t at = i + (size_t)j;
            const float p = w[at], q = w[wide + at], r = w[2 * wide + at], s = w[3 * wide + at];
            y[at] += a * p + b * q + c * r + d * s;
            z[at] += e * p + f * q + g * r + h * s;
        }
}

static void add_row(float *restrict y, const float *x, const float *restrict w, size_t wide)
{
    const float a = x[0], b = x[1], c = x[2], d = x[3];
    size_t i;
    for (i = 0; i < wide; i++)
        y[i] += a * w[i] + b * w[wide + i] + c * w[2 * wide + i] + d * w[3 * wide + i];
}

/* y[rows] += x[rows] times the matrix. Rows of y are `y_step` numbers apart, those of x `x_step`, at least `inputs`
   filled up. */
static void multiply(float *restrict y, size_t y_step, const float *restrict x, size_t x_step, int rows,
                     const linear *l)
{
    size_t wide = (size_t)l->wide;
    int first, i, t;
    for (first = 0; first < rows; first += 16) { /* so many rows of y stay in the nearest cache */
        int end = LEAST(first + 16, rows);
        for (i = 0; i < l->inputs; i += 4) {
            const float *w = l->weights + (size_t)i * wide, *in = x + (size_t)first * x_step + i;
            float *out = y + (size_t)first * y_step;
            for (t = first; t + 1 < end; t += 2, in += 2 * x_step, out += 2 * y_step)
                add_rows(out, out + y_step, in, in + x_step, w, wide);
            if (t < end)
                add_row(out, in, w, wide);
        }
    }
}

static void put_bias(float *y, size_t y_step, int rows, const linear *l)
{
    int t;
    for (t = 0; t < rows; t++)
        memcpy(y + (size_t)t * y_step, l->bias, (size_t)l->wide * sizeof *y);
}

static void add_bias(float *y, size_t y_step, int rows, const linear *l)
{
    int t, j;
    for (t = 0; t < rows; t++)
        for (j = 0; j < l->wide; j++)
            y[(size_t)t * y_step + (size_t)j] += l->bias[j];
}

static void relu(float *to, const float *from, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++)
        to[i] = from[i] > 0 ? from[i] : 0;
}

/* y += the convolution of x[rows] with three taps, `dilation` apart, the last of them `ahead`; zeros lie beyond the
   ends. */
static void convolve(float *y, const float *x, size_t x_step, int rows, const linear taps[3], int dilation, int ahead)
{
    int k;
    for (k = 0; k < 3; k++) {
        int offset = (k - 2) * dilation + ahead, begin = MOST(0, -offset), end = LEAST(rows, rows - offset);
        if (begin < end)
            multiply(y + (size_t)begin * (size_t)taps[k].wide, (size_t)taps[k].wide,
                     x + (size_t)(begin + offset) * x_step, x_step, end - begin, &taps[k]);
    }
}

/* x through the blocks; h and y are scratch of its size. */
static void through(const block *blocks, int count, float *x, float *h, float *y, int rows)
{
    int i;
    for (i = 0; i < count; i++) {
        const block *b = &blocks[i];
        size_t wide = (size_t)b->point.wide, size = (size_t)rows * wide;
        relu(h, x, size);
        put_bias(y, wide, rows, &b->taps[0]);
        convolve(y, h, wide, rows, b->taps, b->dilation, b->ahead);
        relu(y, y, size);
        add_bias(x, wide, rows, &b->point);
        multiply(x, wide, y, wide, rows, &b->point);
    }
}

/* Room for what lies between codes and parameters. */
typedef struct activations {
    int most_vectors, most_frames;
    float *z, *vectors, *frames, *h, *y, *features, *bands, *pitch;
} activations;

static void take_activations(pool *p, const network *n, activations *a, int most_vectors, int most_frames)
{
    size_t wide = (size_t)padded(n->channels, 8), vectors = (size_t)most_vectors, frames = (size_t)most_frames;
    size_t most = MOST(vectors, frames);
    a->most_vectors = most_vectors;
    a->most_frames = most_frames;
    a->z = take(p, vectors, (size_t)padded(n->code_dim, 8) * sizeof(float));
    a->vectors = take(p, vectors, wide * sizeof(float));
    a->frames = take(p, frames, wide * sizeof(float));
    a->h = take(p, most, wide * sizeof(float));
    a->y = take(p, most, wide * sizeof(float));
    a->features = take(p, frames, (size_t)padded(n->features, 8) * sizeof(float));
    a->bands = take(p, frames, (size_t)padded(n->bands, 8) * sizeof(float));
    a->pitch = take(p, frames, (size_t)padded(PITCHES + 1, 8) * sizeof(float));
}

/* The codebooks' vectors of each place, added up. */
static void look_up(const network *n, const uint16_t *codes, int vectors, float *z)
{
    size_t step = (size_t)padded(n->code_dim, 8);
    int t, q, j;
    memset(z, 0, (size_t)vectors * step * sizeof *z);
    for (t = 0; t < vectors; t++)
        for (q = 0; q < n->quantizers; q++) {
            size_t row = (size_t)q * (size_t)n->codebook_size + codes[t * n->quantizers + q];
            const float *entry = n->codebooks + row * (size_t)n->code_dim;
            for (j = 0; j < n->code_dim; j++)
                z[(size_t)t * step + (size_t)j] += entry[j];
        }
}

/* The codes of some vectors to the log power of bands and the pitch's logits of the frames from vector `skipped` to
   `end` - 1, in `a`; returns how many frames. */
static int predict(const network *n, activations *a, const uint16_t *codes, int vectors, int skipped, int end)
{
    size_t wide = (size_t)padded(n->channels, 8), z_step = (size_t)padded(n->code_dim, 8);
    int frames = (end - skipped) * n->frames_per_vector;
    const float *chosen = a->vectors + (size_t)skipped * wide;
    look_up(n, codes, vectors, a->z);
    put_bias(a->vectors, wide, vectors, &n->into[0]);
    convolve(a->vectors, a->z, z_step, vectors, n->into, 1, 1);
    through(n->blocks, n->block_count, a->vectors, a->h, a->y, vectors);
    if (n->frames_per_vector > 1) {
        put_bias(a->frames, (size_t)n->spread.wide, end - skipped, &n->spread);
        multiply(a->frames, (size_t)n->spread.wide, chosen, wide, end - skipped, &n->spread);
    } else {
        memcpy(a->frames, chosen, (size_t)frames * wide * sizeof(float));
    }
    through(n->frame_blocks, n->frame_block_count, a->frames, a->h, a->y, frames);
    put_bias(a->features, (size_t)n->out.wide, frames, &n->out);
    multiply(a->features, (size_t)n->out.wide, a->frames, wide, frames, &n->out);
    put_bias(a->bands, (size_t)n->bands_head.wide, frames, &n->bands_head);
    multiply(a->bands, (size_t)n->bands_head.wide, a->features, (size_t)n->out.wide, frames, &n->bands_head);
    put_bias(a->pitch, (size_t)n->pitch_head.wide, frames, &n->pitch_head);
    multiply(a->pitch, (size_t)n->pitch_head.wide, a->features, (size_t)n->out.wide, frames, &n->pitch_head);
    return frames;
}

/* The logarithm of 60 * (400 / 60) ** ((i + 0.5) / 64) Hz. In double precision, for a voice's phase adds up what its
   pitch is wrong. */
static const double LOG_HZ[PITCHES] = {
    4.109165812104021, 4.138808311867864, 4.168450811631705, 4.198093311395548, 4.2277358111593895,
    4.257378310923231, 4.287020810687073, 4.316663310450915, 4.346305810214757, 4.3759483099785985,
    4.40559080974244, 4.435233309506282, 4.464875809270124, 4.494518309033967, 4.5241608087978085,
    4.55380330856165, 4.583445808325492, 4.613088308089334, 4.642730807853176, 4.6723733076170175,
    4.702015807380859, 4.731658307144701, 4.761300806908543, 4.790943306672386, 4.8205858064362275,
    4.850228306200069, 4.879870805963911, 4.909513305727753, 4.939155805491595, 4.9687983052554365,
    4.998440805019278, 5.02808330478312, 5.057725804546962, 5.087368304310804, 5.1170108040746465,
    5.146653303838488, 5.17629580360233, 5.205938303366172, 5.235580803130014, 5.2652233028938555,
    5.294865802657697, 5.324508302421539, 5.354150802185381, 5.383793301949224, 5.413435801713065,
    5.443078301476907, 5.472720801240749, 5.502363301004591, 5.532005800768433, 5.5616483005322745,
    5.591290800296116, 5.620933300059958, 5.6505757998238, 5.680218299587642, 5.7098607993514845,
    5.739503299115325, 5.769145798879168, 5.79878829864301, 5.828430798406852, 5.8580732981706936,
    5.887715797934535, 5.917358297698377, 5.947000797462219, 5.976643297226061};

/* The pitch that logits mean, 0 where there is no voice: the mean, in the log, of what is near the likeliest. */
static float read_pitch(const float *logits)
{
    double total = 0, near = 0, mean = 0;
    float top;
    int peak = 0, i;
    for (i = 1; i < PITCHES; i++)
        if (logits[i] > logits[peak])
            peak = i;
    top = MOST(logits[peak], logits[PITCHES]);
    for (i = 0; i <= PITCHES; i++)
        total += exp((double)logits[i] - (double)top);
    if (!(exp((double)logits[PITCHES] - (double)top) / total < 0.5))
        return 0;
    for (i = MOST(peak - 2, 0); i <= LEAST(peak + 2, PITCHES - 1); i++) {
        double share = exp((double)logits[i] - (double)logits[peak]);
        near += share;
        mean += share * LOG_HZ[i];
    }
    return (float)exp(mean / near);
}

/* ------------------------------------------------------------------------------------------------- minimum phase */

/* The discrete Fourier transform of real + i imag, in place; `more` is scratch of 2 FFT_SIZE. Stockham's, four at a
   time. The inverse, but for the factor, is that with real and imag exchanged. */
static void transform(const network *n, float *real, float *imag, float *more)
{
    float *r = real, *m = imag, *to_r = more, *to_m = more + FFT_SIZE;
    int size = FFT_SIZE, step, p, q;
    for (step = 1; size > 1; size /= 4, step *= 4) {
        int quarter = size / 4, part = quarter * step;
        for (p = 0; p < quarter; p++) {
            const float c1 = n->cosine[p * step], s1 = n->sine[p * step];
            const float c2 = n->cosine[2 * p * step], s2 = n->sine[2 * p * step];
            const float c3 = n->cosine[3 * p * step], s3 = n->sine[3 * p * step];
            const float *restrict ar = r + p * step, *restrict am = m + p * step;
            float *restrict br = to_r + 4 * p * step, *restrict bm = to_m + 4 * p * step;
            for (q = 0; q < step; q++) {
                float sum_r = ar[q] + ar[q + 2 * part], sum_m = am[q] + am[q + 2 * part];
                float apart_r = ar[q] - ar[q + 2 * part], apart_m = am[q] - am[q + 2 * part];
                float odd_r = ar[q + part] + ar[q + 3 * part], odd_m = am[q + part] + am[q + 3 * part];
                float turned_r = am[q + part] - am[q + 3 * part], turned_m = ar[q + 3 * part] - ar[q + part];
                float r1 = apart_r + turned_r, m1 = apart_m + turned_m, r2 = sum_r - odd_r, m2 = sum_m - odd_m;
                float r3 = apart_r - turned_r, m3 = apart_m - turned_m;
                br[q] = sum_r + odd_r;
                bm[q] = sum_m + odd_m;
                br[q + step] = c1 * r1 + s1 * m1;
                bm[q + step] = c1 * m1 - s1 * r1;
                br[q + 2 * step] = c2 * r2 + s2 * m2;
                bm[q + 2 * step] = c2 * m2 - s2 * r2;
                br[q + 3 * step] = c3 * r3 + s3 * m3;
                bm[q + 3 * step] = c3 * m3 - s3 * r3;
            }
        }
        r = to_r;
        m = to_m;
        to_r = r == real ? more : real;
        to_m = m == imag ? more + FFT_SIZE : imag;
    }
    if (r != real) {
        memcpy(real, r, FFT_SIZE * sizeof *real);
        memcpy(imag, m, FFT_SIZE * sizeof *imag);
    }
}

/* Half the log power of each bin, of a frame's log bands. */
static void log_magnitude(const network *n, const float *log_power, float *bands, float *bins)
{
    int i, j;
    memset(bands, 0, (size_t)n->bands * sizeof *bands);
    for (j = 0; j < n->bands; j++) /* the matrix is symmetric */
        for (i = 0; i < n->bands; i++)
            bands[i] += n->sharpen[j * n->bands + i] * log_power[j];
    for (i = 0; i < BINS; i++)
        bins[i] = 0.5f * ((1 - n->share[i]) * bands[n->upper[i] - 1] + n->share[i] * bands[n->upper[i]]);
}

/* The minimum-phase responses of two frames, worked out as one complex signal; `room` is scratch of 6 FFT_SIZE numbers. */
static void responses(const network *n, const float *log_power, const float *other_log_power, float *response,
                      float *other, float *room)
{
    float *real = room, *imag = room + FFT_SIZE, *more = room + 2 * FFT_SIZE, *level = room + 4 * FFT_SIZE;
    float *other_level = room + 5 * FFT_SIZE;
    int i;
    log_magnitude(n, log_power, more, level);
    log_magnitude(n, other_log_power, more, other_level);
    for (i = 0; i < FFT_SIZE; i++) {
        real[i] = level[i < BINS ? i : FFT_SIZE - i];
        imag[i] = other_level[i < BINS ? i : FFT_SIZE - i];
    }
    transform(n, imag, real, more);
    for (i = 0; i < FFT_SIZE; i++) { /* the cepstrum, folded onto its causal half */
        float fold = (i == 0 || i == TAPS ? 1.0f : i < TAPS ? 2.0f : 0.0f) / FFT_SIZE;
        real[i] *= fold;
        imag[i] *= fold;
    }
    transform(n, real, imag, more);
    for (i = 0; i < BINS; i++) { /* both phases, out of the sum of the spectra of the two */
        int mirror = (FFT_SIZE - i) % FFT_SIZE;
        float phase = 0.5f * (imag[i] - imag[mirror]), other_phase = 0.5f * (real[mirror] - real[i]);
        float magnitude = expf(level[i]), other_magnitude = expf(other_level[i]);
        float a = magnitude * cosf(phase), b = magnitude * sinf(phase);
        float c = other_magnitude * cosf(other_phase), d = other_magnitude * sinf(other_phase);
        if (mirror == i)
            b = d = 0;
        real[i] = a - d;
        imag[i] = b + c;
        real[mirror] = a + d;
        imag[mirror] = c - b;
    }
    transform(n, imag, real, more);
    for (i = 0; i < TAPS; i++) {
        response[i] = real[i] / FFT_SIZE;
        other[i] = imag[i] / FFT_SIZE;
    }
}

#define FILTERED 24 /* samples that go through all taps at once */

/* Outputs of the responses of two neighbouring frames, cross-faded: `hop` samples behind `past`, which has TAPS - 1 of
   before. */
static void filter_frame(const float *past, const float *response, const float *next, const float *fade, int hop,
                         float *out)
{
    int first, tap, i;
    for (first = 0; first < hop; first += FILTERED) {
        float one[FILTERED] = {0}, other[FILTERED] = {0};
        for (tap = 0; tap < TAPS; tap += 4) {
            const float a = response[tap], b = response[tap + 1], c = response[tap + 2], d = response[tap + 3];
            const float e = next[tap], f = next[tap + 1], g = next[tap + 2], h = next[tap + 3];
            const float *restrict in = past + TAPS - 4 + first - tap; /* the last of the four taps' first */
            for (i = 0; i < FILTERED; i++) {
                one[i] += a * in[i + 3] + b * in[i + 2] + c * in[i + 1] + d * in[i];
                other[i] += e * in[i + 3] + f * in[i + 2] + g * in[i + 1] + h * in[i];
            }
        }
        for (i = first; i < LEAST(first + FILTERED, hop); i++)
            out[i] = (1 - fade[i]) * one[i - first] + fade[i] * other[i - first];
    }
}

/* ---------------------------------------------------------------------------------------------------- excitation */

/* A pulse a period where there is a voice, and noise: vqaudio/kernels/pulse_noise.py. */

#define PULSE_HALF 24
#define CUT_HALF 32
#define REACH 34 /* samples that the excitation looks ahead */
#define IDLE_HZ 150.0
#define SPILL (PULSE_HALF + REACH + PULSE_HALF + 1)

/* One channel's excitation, and the memory of its filter. */
typedef struct voice {
    pcg generator;
    double phase, noise[2 * REACH], pulses[SPILL];
    uint8_t voiced[2 * REACH];
    int begun;
    float past[TAPS - 1];
} voice;

/* Room for an excitation of up to `most` samples, and its windows. */
typedef struct excitation {
    double fade[2 * REACH + 1], high[2 * CUT_HALF + 1], share;
    double *f0_cycles, *phase, *noise, *pulses;
    uint8_t *voiced;
} excitation;

static double hann(int i, int size)
{
    return 0.5 - 0.5 * cos(2 * PI * i / (size - 1));
}

static void take_excitation(pool *p, const network *n, excitation *e, size_t most)
{
    double total = 0;
    int i;
    e->share = 2 * n->cut_hz / n->rate_hz;
    for (i = 0; i <= 2 * REACH; i++)
        total += e->fade[i] = hann(i, 2 * REACH + 1);
    for (i = 0; i <= 2 * REACH; i++)
        e->fade[i] /= total;
    for (i = -CUT_HALF; i <= CUT_HALF; i++) {
        double x = PI * e->share * i, sinc = i ? sin(x) / x : 1;
        e->high[i + CUT_HALF] = (i == 0) - e->share * sinc * hann(i + CUT_HALF, 2 * CUT_HALF + 1);
    }
    e->f0_cycles = take(p, most + REACH, sizeof(double));
    e->phase = take(p, most + REACH, sizeof(double));
    e->noise = take(p, most + 3 * REACH, sizeof(double));
    e->pulses = take(p, most + SPILL, sizeof(double));
    e->voiced = take(p, most + 3 * REACH, 1);
}

/* Voicing, periods a sample and phase of `count` samples from `first` on, between the frames of f0. */
static void run_phase(voice *v, const network *n, excitation *e, const float *f0, int first, int count, uint8_t *voiced)
{
    int hop = n->frame_length, i;
    for (i = 0; i < count; i++) {
        int frame = (first + i) / hop;
        double share = (double)(first + i - frame * hop) / hop, here = (double)f0[frame], there = (double)f0[frame + 1],
               hz;
        voiced[i] = (share < 0.5 ? here : there) > 0;
        hz = here > 0 && there > 0 ? here * (1 - share) + there * share : MOST(here, there);
        e->f0_cycles[i] = (voiced[i] ? hz : IDLE_HZ) / n->rate_hz;
        v->phase += e->f0_cycles[i];
        e->phase[i] = v->phase;
    }
}

/* Adds a windowed sinc for each whole number that the phase passes; sample i of it is place + i. */
static void add_pulses(excitation *e, double before, const uint8_t *voiced, int place, int count)
{
    double last = floor(before);
    int i, k;
    for (i = 0; i < count; i++) {
        double passed = floor(e->phase[i]);
        if (passed > last && voiced[i]) {
            double late = (e->phase[i] - passed) / e->f0_cycles[i], size = e->share / sqrt(e->f0_cycles[i]);
            for (k = -PULSE_HALF; k <= PULSE_HALF; k++) {
                double u = k + late, x = PI * e->share * u, window = cos(PI * u / (2 * (PULSE_HALF + 2)));
                e->pulses[place + i + k] += size * (x == 0 ? 1 : sin(x) / x) * window * window;
            }
        }
        last = passed;
    }
}

/* Voice and noise, faded into each other; windows are centred in those that e holds. */
static void mix(const excitation *e, int count, float *out)
{
    int voices = 0, i, k;
    for (k = 0; k < 2 * REACH; k++)
        voices += e->voiced[k];
    for (i = 0; i < count; i++) {
        double heard = 0, above = 0, noise = e->noise[i + REACH];
        voices += e->voiced[i + 2 * REACH];
        if (voices > 0) {
            for (k = 0; k <= 2 * REACH; k++)
                heard += e->fade[k] * e->voiced[i + k];
            for (k = 0; k <= 2 * CUT_HALF; k++)
                above += e->high[k] * e->noise[i + REACH - CUT_HALF + k];
            heard = sqrt(LEAST(MOST(heard, 0.0), 1.0));
        }
        out[i] = (float)(heard * (e->pulses[i + PULSE_HALF] + above) + (1 - heard) * noise);
        voices -= e->voiced[i];
    }
}

/* The next frames * frame_length samples; f0[frames + 2] is of them and of the two after them, which come again. */
static void excite(voice *v, const network *n, excitation *e, const float *f0, int frames, float *out)
{
    int count = frames * n->frame_length, first = v->begun ? REACH : 0, fresh = count + (v->begun ? 0 : REACH), i, kept;
    double before = v->phase;
    memcpy(e->voiced, v->voiced, 2 * REACH);
    memcpy(e->noise, v->noise, 2 * REACH * sizeof(double));
    kept = v->begun ? 2 * REACH : REACH; /* before the first sample there is nothing */
    run_phase(v, n, e, f0, first, fresh, e->voiced + kept);
    for (i = 0; i < fresh; i++)
        e->noise[kept + i] = pcg_normal(&v->generator, &n->normal);
    memset(e->pulses, 0, ((size_t)count + SPILL) * sizeof(double));
    memcpy(e->pulses, v->pulses, SPILL * sizeof(double));
    add_pulses(e, before, e->voiced + kept, PULSE_HALF + first, fresh);
    mix(e, count, out);
    memcpy(v->voiced, e->voiced + count, 2 * REACH);
    memcpy(v->noise, e->noise + count, 2 * REACH * sizeof(double));
    memcpy(v->pulses, e->pulses + count, SPILL * sizeof(double));
    v->begun = 1;
}

/* --------------------------------------------------------------------------------------------------------- model */

struct vqaudio_model {
    pool memory;
    uint8_t name[32];
    int rate_hz, quantizers, codebook_size, hop; /* samples a vector */
    int has_prior, has_network;
    const char *silent; /* why there is no network */
    prior prior;
    network network;
};

/* The matrix of one tap of a convolution [outputs][inputs][kernel], its name and that of its bias ending in .weight,
   .bias. Row `order` of the outputs is asked for, so that those of a sub-pixel convolution lie frame after frame:
   `group` to a frame. */
static int load_linear(pool *p, const folder *of, linear *l, int outputs, int inputs, int kernel, int tap, int group,
                       const char *name, vqaudio_error *error)
{
    int per_group = outputs / group, wide = padded(group, 8), o, i;
    tensor found;
    l->inputs = inputs;
    l->outputs = outputs;
    l->wide = per_group * wide;
    l->weights = take(p, (size_t)padded(inputs, 4), (size_t)l->wide * sizeof(float));
    l->bias = take(p, (size_t)l->wide, sizeof(float));
    if (p->failed)
        return no_memory(error);
    if (!find_tensor(of, &found, outputs, inputs, kernel, error, "%s.weight", name))
        return 0;
    for (o = 0; o < outputs; o++) {
        int column = o % per_group * wide + o / per_group; /* channel c of frame f is output c * frames + f */
        for (i = 0; i < inputs; i++) {
            float value = tensor_at(&found, ((int64_t)o * inputs + i) * kernel + tap);
            if (!(fabs((double)value) <= 3.4e38))
                return fail(error, VQAUDIO_BAD_MODEL, "%s holds what is no number: copy the model anew", name);
            l->weights[(size_t)i * (size_t)l->wide + (size_t)column] = value;
        }
    }
    if (!find_tensor(of, &found, outputs, 0, 0, error, "%s.bias", name))
        return 0;
    for (o = 0; o < outputs; o++) {
        float value = tensor_at(&found, o);
        if (!(fabs((double)value) <= 3.4e38))
            return fail(error, VQAUDIO_BAD_MODEL, "%s holds what is no number: copy the model anew", name);
        l->bias[o % per_group * wide + o / per_group] = value;
    }
    return 1;
}

static int load_taps(pool *p, const folder *of, linear *taps, int outputs, int inputs, const char *name,
                     vqaudio_error *error)
{
    int tap;
    for (tap = 0; tap < 3; tap++)
        if (!load_linear(p, of, &taps[tap], outputs, inputs, 3, tap, outputs, name, error))
            return 0;
    return 1;
}

/* A stack of residual blocks; -1 for `look_ahead` is as far as they look back. */
static int load_blocks(pool *p, const folder *of, block *blocks, int count, const int *dilations, int look_ahead,
                       int channels, const char *name, vqaudio_error *error)
{
    char full[64];
    int i;
    for (i = 0; i < count; i++) {
        block *b = &blocks[i];
        b->dilation = dilations[i];
        b->ahead = look_ahead < 0 ? b->dilation : LEAST(b->dilation, look_ahead);
        if (look_ahead >= 0)
            look_ahead -= b->ahead;
        snprintf(full, sizeof full, "conditioning.%s.%d.dilated", name, i);
        if (!load_taps(p, of, b->taps, channels, channels, full, error))
            return 0;
        snprintf(full, sizeof full, "conditioning.%s.%d.pointwise", name, i);
        if (!load_linear(p, of, &b->point, channels, channels, 1, 0, channels, full, error))
            return 0;
    }
    return 1;
}

static int load_codebooks(pool *p, const folder *of, network *n, vqaudio_error *error)
{
    int64_t size = (int64_t)n->codebook_size * n->code_dim, i;
    tensor found;
    int q, well;
    n->codebooks = take(p, (size_t)n->quantizers * (size_t)n->codebook_size, (size_t)n->code_dim * sizeof(float));
    if (p->failed)
        return no_memory(error);
    for (q = 0; q < n->quantizers; q++) {
        if (n->quantizers == 1)
            well = find_tensor(of, &found, n->codebook_size, n->code_dim, 0, error, "quantizer.codebook");
        else
            well = find_tensor(of, &found, n->codebook_size, n->code_dim, 0, error, "quantizer.stages.%d.codebook", q);
        for (i = 0; well && i < size; i++) {
            n->codebooks[q * size + i] = tensor_at(&found, i);
            if (!(fabs((double)n->codebooks[q * size + i]) <= 3.4e38))
                well = fail(error, VQAUDIO_BAD_MODEL, "a codebook holds what is no number: copy the model anew");
        }
        if (!well)
            return 0;
    }
    return 1;
}

/* The middle of a band, of bands equally wide on the mel scale up to `top`. */
static double centre_hz(int band, int bands, double top)
{
    return 700 * (pow(10, (band + 1) * (top / (bands + 1)) / 2595) - 1);
}

/* How log bands become the log power of bins: vqaudio/dsp/mel_envelope.py. */
static int fill_filter(pool *p, network *n, double sharpen, vqaudio_error *error)
{
    int bands = n->bands, i, j, k;
    double top = 2595 * log10(1 + n->rate_hz / 2.0 / 700);
    n->sharpen = take(p, (size_t)bands * (size_t)bands, sizeof(float));
    n->upper = take(p, BINS, sizeof(int));
    n->share = take(p, BINS, sizeof(float));
    if (p->failed)
        return no_memory(error);
    for (i = 0; i < bands; i++) /* the cosine transform, a factor from its second number on, and back */
        for (j = 0; j < bands; j++) {
            double sum = 0;
            for (k = 0; k < bands; k++) {
                double a = cos(PI * (i + 0.5) * k / bands), b = cos(PI * (j + 0.5) * k / bands);
                sum += (k < 2 ? 1 : sharpen) * a * b * (k ? 2 : 1) / bands;
            }
            n->sharpen[i * bands + j] = (float)sum;
        }
    for (i = 0, j = 0; i < BINS; i++) {
        double hz = (double)i * n->rate_hz / FFT_SIZE, low, high;
        while (j < bands && centre_hz(j, bands, top) < hz)
            j++;
        n->upper[i] = LEAST(MOST(j, 1), bands - 1);
        low = centre_hz(n->upper[i] - 1, bands, top);
        high = centre_hz(n->upper[i], bands, top);
        n->share[i] = (float)LEAST(MOST((hz - low) / (high - low), 0.0), 1.0);
    }
    for (i = 0; i < FFT_SIZE; i++) {
        n->cosine[i] = (float)cos(2 * PI * i / FFT_SIZE);
        n->sine[i] = (float)sin(2 * PI * i / FFT_SIZE);
    }
    return 1;
}

static int sum_of(const int *numbers, int count)
{
    int sum = 0;
    while (count-- > 0)
        sum += numbers[count];
    return sum;
}

/* The numbers of the conditioning stack and the vocoder, and the dilations. */
static int read_shape(const folder *of, network *n, int *dilations, int *frame_dilations, double *sharpen,
                      vqaudio_error *error)
{
    json stack = member(of->model, "conditioning"), vocoder = member(of->model, "vocoder"),
         ahead = member(stack, "look_ahead");
    int reach, frame_reach, look_ahead;
    n->code_dim = (int)whole(member(member(of->model, "quantizer"), "code_dim"), 1, MOST_WIDTH);
    n->channels = (int)whole(member(stack, "channels"), 1, MOST_WIDTH);
    n->features = (int)whole(member(stack, "features"), 1, MOST_WIDTH);
    n->frames_per_vector = (int)whole(member_of_old(stack, "frames_per_vector", "frames_per_token"), 1, 512);
    n->block_count = whole_list(member(stack, "residual_dilations"), dilations, MOST_STACK, MOST_REACH);
    n->frame_block_count = whole_list(member(stack, "frame_dilations"), frame_dilations, MOST_STACK, MOST_REACH);
    n->bands = (int)whole(member(vocoder, "bands"), 16, 257);
    n->cut_hz = number(member(vocoder, "cut_hz"), 0);
    *sharpen = number(member(vocoder, "sharpen"), 0);
    if (n->code_dim < 1 || n->channels < 1 || n->features < 1 || n->frames_per_vector < 1 || n->block_count < 0 ||
        n->frame_block_count < 0 || n->bands < 16 || !(*sharpen >= 0.5 && *sharpen <= 2))
        return fail(error, VQAUDIO_BAD_MODEL, "config.json: conditioning or vocoder is none that this decoder knows");
    if (n->hop % n->frames_per_vector || n->frames_per_vector % n->quantizers ||
        n->hop / n->frames_per_vector < REACH || !(n->cut_hz > 0 && n->cut_hz < n->rate_hz / 2.0) || n->hop > 65536)
        return fail(error, VQAUDIO_BAD_MODEL, "config.json: frames, vectors and rates do not fit each other");
    reach = sum_of(dilations, n->block_count);
    frame_reach = sum_of(frame_dilations, n->frame_block_count);
    look_ahead = is_null(ahead) ? -1 : (int)whole(ahead, 0, reach);
    if (reach > MOST_REACH || frame_reach > MOST_REACH || (look_ahead < 0 && !is_null(ahead)))
        return fail(error, VQAUDIO_BAD_MODEL,
                    "config.json: the conditioning stack reaches farther than this decoder knows");
    n->look_ahead = look_ahead;
    n->frame_length = n->hop / n->frames_per_vector;
    n->frames_round = frame_reach;
    n->vectors_on = (look_ahead < 0 ? reach : look_ahead) + 1 +
                    padded(frame_reach + 2, n->frames_per_vector) / n->frames_per_vector;
    n->vectors_back = 2 * reach - (look_ahead < 0 ? reach : look_ahead) + 1 +
                      padded(frame_reach, n->frames_per_vector) / n->frames_per_vector;
    return 1;
}

static int load_network(pool *p, const folder *of, network *n, vqaudio_error *error)
{
    int dilations[MOST_STACK], frame_dilations[MOST_STACK], wide;
    double sharpen;
    if (!read_shape(of, n, dilations, frame_dilations, &sharpen, error) || !load_codebooks(p, of, n, error))
        return 0;
    wide = n->channels * n->frames_per_vector;
    if (!load_taps(p, of, n->into, n->channels, n->code_dim, "conditioning.into", error))
        return 0;
    if (!load_blocks(p, of, n->blocks, n->block_count, dilations, n->look_ahead, n->channels, "blocks", error))
        return 0;
    if (n->frames_per_vector > 1 &&
        !load_linear(p, of, &n->spread, wide, n->channels, 1, 0, n->channels, "conditioning.spread", error))
        return 0;
    if (!load_blocks(p, of, n->frame_blocks, n->frame_block_count, frame_dilations, -1, n->channels, "frame_blocks",
                     error))
        return 0;
    if (!load_linear(p, of, &n->out, n->features, n->channels, 1, 0, n->features, "conditioning.out", error) ||
        !load_linear(p, of, &n->bands_head, n->bands, n->features, 1, 0, n->bands, "bands_head", error) ||
        !load_linear(p, of, &n->pitch_head, PITCHES + 1, n->features, 1, 0, PITCHES + 1, "pitch_head", error))
        return 0;
    fill_ziggurat(&n->normal);
    return fill_filter(p, n, sharpen, error);
}

/* Samples that a vector stands for: the encoder's stride; 0 where it is none. */
static int64_t hop_of(json model)
{
    json encoder = member(model, "encoder");
    int strides[16], channels[16], i, count = whole_list(member(encoder, "strides"), strides, 16, 65536);
    int64_t hop = 1;
    if (count <= 0) {
        count = whole_list(member(encoder, "channels"), channels, 16, 1 << 20);
        for (i = 0; i < count; i++)
            strides[i] = 2;
    }
    for (i = 0; i < count && hop <= 1 << 20; i++)
        hop *= strides[i];
    if (!is_null(member(encoder, "spectrum")))
        hop *= whole(member(encoder, "spectrum_hop"), 1, 65536);
    return count > 0 && hop > 0 && hop <= 1 << 24 ? hop : 0;
}

static int load_model(vqaudio_model *m, const folder *of, vqaudio_error *error)
{
    json kind = member(of->model, "kind"), speakers = member(of->model, "speakers"),
         prior_table = member(of->model, "prior");
    json quantizer = member(of->model, "quantizer"), none = {NULL, NULL};
    const char *at = NULL;
    int has_speakers = next_entry(speakers, &at, &none, &none);
    if (!is_text(kind, "\"vocoder-vqvae\"") && !is_text(kind, "\"audio-vqvae\""))
        return fail(error, VQAUDIO_NOT_SUPPORTED, "the model is none of sounds: give one of kind vocoder-vqvae");
    m->rate_hz = (int)whole(member(of->model, "sample_rate_hz"), 1000, 768000);
    m->quantizers = (int)whole(member_of_old(quantizer, "num_quantizers", "stages"), 1, 8);
    m->codebook_size = (int)whole(member(quantizer, "codebook_size"), 2, 65536);
    m->hop = (int)hop_of(of->model);
    if (m->rate_hz < 1000 || m->quantizers < 1 || m->codebook_size < 2 || m->hop < 1)
        return fail(error, VQAUDIO_BAD_MODEL,
                    "config.json: rate, quantizer or encoder is none that this decoder knows");
    if (!fingerprint(of, m->hop, m->name, error))
        return 0;
    if (!is_null(prior_table) && whole(member(prior_table, "features"), 0, MOST_WIDTH) == 0) {
        m->has_prior = 1;
        if (!load_prior(&m->memory, of, prior_table, m->codebook_size, m->quantizers, &m->prior, error))
            return 0;
    }
    m->silent = "the model draws its sound with a WaveNet: this decoder reads its codes alone";
    if (has_speakers)
        m->silent = "the model must be told who speaks: this decoder reads its codes alone";
    if (is_text(kind, "\"audio-vqvae\"") || has_speakers)
        return 1;
    m->has_network = 1;
    m->network.rate_hz = m->rate_hz;
    m->network.quantizers = m->quantizers;
    m->network.codebook_size = m->codebook_size;
    m->network.hop = m->hop;
    return load_network(&m->memory, of, &m->network, error);
}

vqaudio_model *vqaudio_load(const void *weights, size_t weight_bytes, const void *config, size_t config_bytes,
                            vqaudio_error *error)
{
    vqaudio_model *m = calloc(1, sizeof *m);
    folder of;
    all_well(error);
    if (m == NULL) {
        no_memory(error);
        return NULL;
    }
    if (open_folder(&of, weights, weight_bytes, config, config_bytes, error) && load_model(m, &of, error))
        return m;
    vqaudio_unload(m);
    return NULL;
}

void vqaudio_unload(vqaudio_model *model)
{
    if (model == NULL)
        return;
    give_back(&model->memory);
    free(model);
}

/* ---------------------------------------------------------------------------------------------------- resampling */

/* Kaiser-windowed sinc: vqaudio/io/resample.py, whose filter is torchaudio's. */

#define ZERO_CROSSINGS 32
#define ROLLOFF 0.95
#define BETA 9.5
#define FINE 1024        /* entries of the table a zero crossing; between them it is linear */
#define MOST_ROWS 131072 /* numbers up to which each phase of the filter has a row of its own */

typedef struct resampler {
    uint64_t up, down, rest; /* the next sample lies at place + rest / up */
    int64_t place;
    int width; /* samples on either side that a sample is made of */
    double scale;
    float *table, *rows, *row;
    uint8_t *known;
} resampler;

/* The modified Bessel function of order 0. */
static double bessel(double x)
{
    double sum = 1, term = 1, k;
    for (k = 1; term > 1e-17 * sum; k++) {
        term *= x / 2 / k * (x / 2 / k);
        sum += term;
    }
    return sum;
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static void take_resampler(pool *p, resampler *r, uint32_t from_hz, uint32_t to_hz)
{
    uint64_t divisor = common_divisor(from_hz, to_hz);
    size_t taps;
    int i;
    r->up = to_hz / divisor;
    r->down = from_hz / divisor;
    r->place = 0;
    r->rest = 0;
    r->width = 0;
    if (r->up == r->down)
        return;
    r->scale = ROLLOFF * (double)LEAST(r->up, r->down) / (double)r->down;
    r->width = (int)ceil(ZERO_CROSSINGS / r->scale);
    taps = 2 * (size_t)r->width;
    r->table = take(p, ZERO_CROSSINGS * FINE + 2, sizeof(float));
    r->row = take(p, taps, sizeof(float));
    if (r->up * taps <= MOST_ROWS) {
        r->rows = take(p, (size_t)r->up, taps * sizeof(float));
        r->known = take(p, (size_t)r->up, 1);
    }
    if (p->failed)
        return;
    for (i = 0; i < ZERO_CROSSINGS * FINE; i++) {
        double u = (double)i / FINE, part = u / ZERO_CROSSINGS, sinc = i ? sin(PI * u) / (PI * u) : 1;
        r->table[i] = (float)(r->scale * sinc * bessel(BETA * sqrt(1 - part * part)) / bessel(BETA));
    }
}

/* The filter for a sample that lies rest / up behind a place: of the samples from place - width + 1 on. */
static const float *filter_at(resampler *r)
{
    float *row = r->rows == NULL ? r->row : r->rows + (size_t)r->rest * 2 * (size_t)r->width;
    int k;
    if (r->rows != NULL && r->known[r->rest])
        return row;
    for (k = 0; k < 2 * r->width; k++) {
        double at = fabs(k + 1 - r->width - (double)r->rest / (double)r->up) * r->scale * FINE;
        int lower = (int)LEAST(at, (double)(ZERO_CROSSINGS * FINE));
        float share = (float)(at - lower);
        row[k] = lower >= ZERO_CROSSINGS * FINE ? 0 : r->table[lower] + share * (r->table[lower + 1] - r->table[lower]);
    }
    if (r->rows != NULL)
        r->known[r->rest] = 1;
    return row;
}

static void advance(resampler *r)
{
    r->rest += r->down;
    r->place += (int64_t)(r->rest / r->up);
    r->rest %= r->up;
}

/* ceil(frames * to / from); UINT64_MAX where that is beyond all bounds. */
static uint64_t resampled_length(uint64_t frames, uint64_t from_hz, uint64_t to_hz)
{
    uint64_t whole_part = frames / from_hz, rest = frames % from_hz;
    if (whole_part > ((uint64_t)1 << 62) / to_hz)
        return UINT64_MAX;
    return whole_part * to_hz + (rest * to_hz + from_hz - 1) / from_hz;
}

/* -------------------------------------------------------------------------------------------------------- stream */

#define WINDOW_FRAMES 512 /* of which sound is made at once */
#define MUTE_S 0.005
#define LOWEST_LOG_POWER -40.0f
#define HIGHEST_LOG_POWER 12.0f

/* What of a channel goes into its sound, and the sound that is not given out yet. */
typedef struct channel {
    voice voice;
    uint8_t *present; /* of the last samples, whether they were there: a ring */
    int present_count, present_at;
    float *wave;
} channel;

typedef enum use { UNUSED, CODES, SOUND } use;

struct vqaudio_stream {
    pool memory;
    const vqaudio_model *model;
    vqaudio_options options;
    header header;
    source source;
    use use;
    uint32_t output_hz;
    uint64_t output_frames, model_frames;
    /* blocks */
    uint64_t next_block, found;
    int searched; /* block `found` is the next whole one, or there is none and `found` is their number */
    size_t found_length, consumed;
    prior_state prior;
    /* tokens: those from held_from on, `held` of each channel, each channel's `room` apart */
    uint64_t held_from;
    size_t held, room;
    uint16_t *codes, *last;
    uint8_t *lost;
    /* sound: waves have the samples from wave_from on, `wave_held` of them */
    channel *channels;
    activations activations;
    excitation excitation;
    resampler resampler;
    int window; /* vectors */
    int mute;   /* samples over which what is lost fades */
    float *fade, *driven, *f0, *log_power, *responses, *room_of_filter;
    uint64_t vectors_done, frames_given;
    int64_t wave_from;
    size_t wave_held, wave_room;
};

/* Where the stream's next block, number next_block, has its payload; NULL where it is lost. */
static const uint8_t *next_payload(vqaudio_stream *s, size_t *length)
{
    source *from = &s->source;
    if (!s->searched) {
        from->begin += s->consumed;
        s->consumed = 0;
        if (!find_block(from, &s->header, s->next_block, &s->found, &s->found_length))
            s->found = s->header.blocks;
        else
            s->consumed = BLOCK_HEAD + s->found_length + 4;
        s->searched = 1;
    }
    if (s->found != s->next_block++)
        return NULL;
    s->searched = 0;
    *length = s->found_length;
    return from->data + from->begin + BLOCK_HEAD;
}

static int decode_payload(vqaudio_stream *s, const uint8_t *payload, size_t length, size_t count, uint16_t *codes)
{
    if (s->header.prior_coded)
        return decode_prior(&s->model->prior, &s->prior, payload, length, count, codes);
    return decode_packed(s->header.codebook_size, payload, length, count, codes);
}

/* Adds the next range of tokens of every channel to those held; returns how many. */
static size_t next_range(vqaudio_stream *s)
{
    uint64_t first = s->held_from + s->held, end = LEAST(first + s->header.tokens_per_block, s->header.tokens);
    size_t count = (size_t)(end - first), length = 0, i;
    uint32_t c;
    for (c = 0; c < s->header.channels && count > 0; c++) {
        uint16_t *codes = s->codes + c * s->room + s->held;
        const uint8_t *payload = next_payload(s, &length);
        int lost = payload == NULL || !decode_payload(s, payload, length, count, codes);
        if (lost) {
            for (i = 0; i < count; i++)
                codes[i] = s->last[c];
            if (s->options.lost != NULL)
                s->options.lost(s->options.listener, (int)c, first, end);
        }
        if (s->lost != NULL)
            memset(s->lost + c * s->room + s->held, lost, count);
        s->last[c] = codes[count - 1];
    }
    s->held += count;
    return count;
}

static void drop_tokens(vqaudio_stream *s, size_t count)
{
    uint32_t c;
    s->held -= count;
    s->held_from += count;
    for (c = 0; c < s->header.channels && count > 0; c++) {
        memmove(s->codes + c * s->room, s->codes + c * s->room + count, s->held * sizeof *s->codes);
        if (s->lost != NULL)
            memmove(s->lost + c * s->room, s->lost + c * s->room + count, s->held);
    }
}

/* Room for `most` tokens of each channel at once. */
static int take_tokens(vqaudio_stream *s, size_t most, int with_lost, vqaudio_error *error)
{
    s->room = most;
    s->codes = take(&s->memory, s->header.channels, most * sizeof *s->codes);
    s->last = take(&s->memory, s->header.channels, sizeof *s->last);
    if (with_lost)
        s->lost = take(&s->memory, s->header.channels, most);
    if (s->header.prior_coded)
        take_prior_state(&s->memory, &s->model->prior, &s->prior);
    return !s->memory.failed || no_memory(error);
}

static size_t range_size(const header *h)
{
    return (size_t)MOST(LEAST(h->tokens, (uint64_t)h->tokens_per_block), (uint64_t)1);
}

static int begin_sound(vqaudio_stream *s, vqaudio_error *error)
{
    const network *n = &s->model->network;
    pool *p = &s->memory;
    int spare = padded(n->frames_round + 2, n->frames_per_vector) / n->frames_per_vector, i;
    uint64_t vectors = s->header.tokens / (uint64_t)n->quantizers;
    size_t samples;
    uint32_t c;
    if (!s->model->has_network)
        return fail(error, VQAUDIO_NOT_SUPPORTED, "%s", s->model->silent);
    if (s->output_frames == UINT64_MAX)
        return fail(error, VQAUDIO_NOT_SUPPORTED, "sounds of %lu Hz cannot be made %lu Hz: rates may be 1000 to 768000",
                    (unsigned long)s->model->rate_hz, (unsigned long)s->output_hz);
    s->window = (int)MOST(LEAST((uint64_t)MOST(WINDOW_FRAMES / n->frames_per_vector, 1), vectors), (uint64_t)1);
    samples = (size_t)s->window * (size_t)n->hop;
    if (!take_tokens(
            s, (size_t)(n->vectors_back + s->window + n->vectors_on) * (size_t)n->quantizers + range_size(&s->header),
            1, error))
        return 0;
    take_activations(p, n, &s->activations, n->vectors_back + s->window + n->vectors_on,
                     (s->window + 2 * spare) * n->frames_per_vector);
    take_excitation(p, n, &s->excitation, samples);
    take_resampler(p, &s->resampler, (uint32_t)s->model->rate_hz, s->output_hz);
    s->wave_room = samples + 3 * (size_t)s->resampler.width + 4;
    s->wave_from = -s->resampler.width;
    s->wave_held = (size_t)s->resampler.width;
    s->mute = MOST(2, (int)floor(MUTE_S * s->model->rate_hz + 0.5));
    s->fade = take(p, (size_t)n->frame_length, sizeof(float));
    s->driven = take(p, TAPS - 1 + samples + FILTERED, sizeof(float));
    s->f0 = take(p, (size_t)(s->window * n->frames_per_vector + 2), sizeof(float));
    s->log_power = take(p, (size_t)(s->window * n->frames_per_vector + 1), (size_t)n->bands * sizeof(float));
    s->responses = take(p, 4, TAPS * sizeof(float));
    s->room_of_filter = take(p, 6, FFT_SIZE * sizeof(float));
    s->channels = take(p, s->header.channels, sizeof *s->channels);
    for (c = 0; c < s->header.channels && !p->failed; c++) {
        s->channels[c].wave = take(p, s->wave_room, sizeof(float));
        s->channels[c].present = take(p, (size_t)s->mute, 1);
        pcg_seed(&s->channels[c].voice.generator, s->options.seed, c);
    }
    if (p->failed)
        return no_memory(error);
    for (i = 0; i < n->frame_length; i++)
        s->fade[i] = (float)(0.5 - 0.5 * cos(PI * i / n->frame_length));
    return 1;
}

/* The parameters of `vectors` vectors of a channel from `first` on, into f0 (two frames more) and log_power (one more). */
static void parameters(vqaudio_stream *s, uint32_t c, int64_t first, int vectors)
{
    const network *n = &s->model->network;
    int per = n->frames_per_vector, round = padded(n->frames_round, per) / per,
        on = padded(n->frames_round + 2, per) / per;
    int64_t total = (int64_t)(s->header.tokens / (uint64_t)n->quantizers);
    int64_t low = MOST(first - n->vectors_back, 0), high = LEAST(first + vectors + n->vectors_on, total);
    int64_t skipped = MOST(first - round, 0), end = LEAST(first + vectors + on, high);
    const uint16_t *codes = s->codes + c * s->room + ((uint64_t)(low * n->quantizers) - s->held_from);
    int count = predict(n, &s->activations, codes, (int)(high - low), (int)(skipped - low), (int)(end - low));
    int begin = (int)(first - skipped) * per, i, j, wanted = vectors * per;
    for (i = 0; i < wanted + 2; i++) {
        int frame = LEAST(begin + i, count - 1); /* the sound ends with its codes: beyond them its last frame stays */
        const float *bands = s->activations.bands + (size_t)frame * (size_t)n->bands_head.wide;
        s->f0[i] = read_pitch(s->activations.pitch + (size_t)frame * (size_t)n->pitch_head.wide);
        for (j = 0; j < n->bands && i <= wanted; j++) {
            float power = bands[j];
            power = power > LOWEST_LOG_POWER ? power : LOWEST_LOG_POWER;
            s->log_power[(size_t)i * (size_t)n->bands + (size_t)j] =
                power < HIGHEST_LOG_POWER ? power : HIGHEST_LOG_POWER;
        }
    }
}

/* The sound of `frames` frames, of what `parameters` has put ready. */
static void synthesize(vqaudio_stream *s, uint32_t c, int frames, float *wave)
{
    const network *n = &s->model->network;
    voice *v = &s->channels[c].voice;
    int hop = n->frame_length, done = 0, frame;
    memcpy(s->driven, v->past, sizeof v->past);
    excite(v, n, &s->excitation, s->f0, frames, s->driven + TAPS - 1);
    for (frame = 0; frame < frames; frame++) {
        for (; done < frame + 2; done += 2)
            responses(n, s->log_power + (size_t)done * (size_t)n->bands,
                      s->log_power + (size_t)LEAST(done + 1, frames) * (size_t)n->bands, s->responses + done % 4 * TAPS,
                      s->responses + (done + 1) % 4 * TAPS, s->room_of_filter);
        filter_frame(s->driven + frame * hop, s->responses + frame % 4 * TAPS, s->responses + (frame + 1) % 4 * TAPS,
                     s->fade, hop, wave + frame * hop);
    }
    memcpy(v->past, s->driven + frames * hop, sizeof v->past);
}

/* Silences lost tokens: the gain is the share of the last samples that were there. */
static void silence(vqaudio_stream *s, uint32_t c, const uint8_t *lost, int tokens, float *wave)
{
    channel *ch = &s->channels[c];
    int hop = s->model->hop / s->model->quantizers, i;
    if (s->vectors_done == 0) {
        memset(ch->present, !lost[0], (size_t)s->mute);
        ch->present_count = lost[0] ? 0 : s->mute;
    }
    for (i = 0; i < tokens * hop; i++) {
        uint8_t present = !lost[i / hop];
        ch->present_count += present - ch->present[ch->present_at];
        ch->present[ch->present_at] = present;
        ch->present_at = (ch->present_at + 1) % s->mute;
        if (ch->present_count < s->mute)
            wave[i] = (float)((double)wave[i] * ch->present_count / s->mute);
    }
}

/* Makes the next window of sound of every channel. */
static void produce(vqaudio_stream *s)
{
    const network *n = &s->model->network;
    uint64_t total = s->header.tokens / (uint64_t)n->quantizers, first = s->vectors_done;
    int vectors = (int)LEAST((uint64_t)s->window, total - first);
    uint64_t until = LEAST(first + (uint64_t)(vectors + n->vectors_on), total) * (uint64_t)n->quantizers;
    uint64_t low = first > (uint64_t)n->vectors_back ? first - (uint64_t)n->vectors_back : 0;
    int64_t kept = s->resampler.place - s->resampler.width + (s->resampler.width > 0), more;
    size_t dropped = (size_t)(kept - s->wave_from), fresh;
    uint32_t c;
    drop_tokens(s, (size_t)(low * (uint64_t)n->quantizers - s->held_from));
    while (s->held_from + s->held < until && next_range(s) > 0)
        continue;
    s->wave_held -= dropped;
    s->wave_from = kept;
    more = (int64_t)s->model_frames - (s->wave_from + (int64_t)s->wave_held);
    fresh = (size_t)MOST(LEAST(more, (int64_t)vectors * n->hop), 0);
    for (c = 0; c < s->header.channels; c++) {
        float *wave = s->channels[c].wave;
        uint64_t place = c * s->room + (first * (uint64_t)n->quantizers - s->held_from);
        memmove(wave, wave + dropped, s->wave_held * sizeof *wave);
        parameters(s, c, (int64_t)first, vectors);
        synthesize(s, c, vectors * n->frames_per_vector, wave + s->wave_held);
        silence(s, c, s->lost + place, vectors * n->quantizers, wave + s->wave_held);
        if (first + (uint64_t)vectors == total) /* silence follows */
            memset(wave + s->wave_held + fresh, 0, ((size_t)s->resampler.width + 1) * sizeof *wave);
    }
    s->wave_held += fresh;
    s->vectors_done += (uint64_t)vectors;
}

/* The next frame of all channels. */
static void give_frame(vqaudio_stream *s, float *sound)
{
    resampler *r = &s->resampler;
    const float *filter = r->width ? filter_at(r) : NULL;
    size_t place = (size_t)(r->place - s->wave_from);
    uint32_t c;
    int k;
    for (c = 0; c < s->header.channels; c++) {
        const float *wave = s->channels[c].wave + place;
        float sum = 0;
        double value;
        if (r->width)
            for (k = 0; k < 2 * r->width; k++)
                sum += filter[k] * wave[k + 1 - r->width];
        else
            sum = wave[0];
        value = (double)sum * (double)s->header.levels[c];
        sound[c] = (float)LEAST(MOST(value, -3.4028234663852886e38), 3.4028234663852886e38);
    }
    advance(r);
}

/* Whether the stream is of this model, and its numbers can be true. */
static int check_header(vqaudio_stream *s, vqaudio_error *error)
{
    const header *h = &s->header;
    const vqaudio_model *model = s->model;
    uint64_t vectors;
    if (memcmp(h->name, model->name, 32) != 0)
        return fail(error, VQAUDIO_OTHER_MODEL,
                    "the stream was made with model %02x%02x%02x%02x%02x%02x, this is another", h->name[0], h->name[1],
                    h->name[2], h->name[3], h->name[4], h->name[5]);
    if (h->prior_coded && !model->has_prior)
        return fail(error, VQAUDIO_DAMAGED, "the stream is coded under a prior that its model does not have");
    s->model_frames = resampled_length(h->frames, h->rate_hz, (uint64_t)model->rate_hz);
    vectors = s->model_frames / (uint64_t)model->hop + (s->model_frames % (uint64_t)model->hop > 0);
    if (h->codebook_size != (uint32_t)model->codebook_size || s->model_frames > (uint64_t)1 << 62 ||
        h->tokens != vectors * (uint64_t)model->quantizers)
        return fail(error, VQAUDIO_DAMAGED, "the header's numbers contradict each other; get an intact copy");
    return 1;
}

static void tell(const vqaudio_stream *s, vqaudio_info *info)
{
    info->sample_rate_hz = s->header.rate_hz;
    info->channels = s->header.channels;
    info->frames = s->header.frames;
    info->output_frames = s->output_frames == UINT64_MAX ? 0 : s->output_frames;
    info->output_rate_hz = s->output_hz;
    info->tokens = s->header.tokens;
    info->tokens_per_range = (uint32_t)range_size(&s->header);
    info->codebook_size = s->header.codebook_size;
    info->num_quantizers = (uint32_t)s->model->quantizers;
    info->prior_coded = s->header.prior_coded;
}

vqaudio_stream *vqaudio_open(const vqaudio_model *model, vqaudio_read read, void *from, const vqaudio_options *options,
                             vqaudio_info *info, vqaudio_error *error)
{
    static const vqaudio_options defaults = {0, 0, NULL, NULL};
    vqaudio_stream *s = calloc(1, sizeof *s);
    header *h;
    int fits;
    all_well(error);
    if (s == NULL) {
        no_memory(error);
        return NULL;
    }
    h = &s->header;
    s->model = model;
    s->options = options == NULL ? defaults : *options;
    s->source.read = read;
    s->source.from = from;
    s->source.room = 4 * 65536 + 64 + BLOCK_HEAD + 4 + CHUNK;
    s->source.data = take(&s->memory, s->source.room, 1);
    fits = s->source.data != NULL || no_memory(error);
    fits = fits && read_header(&s->source, h, error);
    fits = fits && check_header(s, error);
    if (!fits) {
        vqaudio_close(s);
        return NULL;
    }
    s->output_hz = s->options.sample_rate_hz ? s->options.sample_rate_hz : h->rate_hz;
    s->output_frames = resampled_length(h->frames, h->rate_hz, s->output_hz);
    if (s->output_hz != (uint32_t)model->rate_hz && (s->output_hz < 1000 || s->output_hz > 768000))
        s->output_frames = UINT64_MAX; /* which vqaudio_sound refuses; the codes can be had */
    if (info != NULL)
        tell(s, info);
    return s;
}

/* Whether the stream is used as before, or for the first time: which is then made ready. */
static int ready(vqaudio_stream *s, use wanted, vqaudio_error *error)
{
    int well;
    all_well(error);
    if (s->use != UNUSED && s->use != wanted)
        return fail(error, VQAUDIO_NOT_SUPPORTED, "one stream gives codes or sound, not both: open it twice");
    if (s->use == wanted)
        return !s->memory.failed || no_memory(error);
    well = wanted == SOUND ? begin_sound(s, error) : take_tokens(s, range_size(&s->header), 0, error);
    if (well)
        s->use = wanted;
    return well;
}

size_t vqaudio_codes(vqaudio_stream *stream, uint16_t *codes, vqaudio_error *error)
{
    size_t count;
    uint32_t c;
    if (!ready(stream, CODES, error))
        return 0;
    drop_tokens(stream, stream->held);
    count = next_range(stream);
    for (c = 0; c < stream->header.channels; c++)
        memcpy(codes + c * count, stream->codes + c * stream->room, count * sizeof *codes);
    return count;
}

size_t vqaudio_sound(vqaudio_stream *stream, float *sound, size_t frames, vqaudio_error *error)
{
    uint64_t total;
    size_t given = 0;
    if (!ready(stream, SOUND, error))
        return 0;
    total = stream->header.tokens / (uint64_t)stream->model->quantizers;
    while (given < frames && stream->frames_given < stream->output_frames) {
        int64_t known = stream->wave_from + (int64_t)stream->wave_held;
        if (stream->vectors_done < total && stream->resampler.place + stream->resampler.width >= known) {
            produce(stream);
            continue;
        }
        give_frame(stream, sound + given * stream->header.channels);
        stream->frames_given++;
        given++;
    }
    return given;
}

void vqaudio_close(vqaudio_stream *stream)
{
    if (stream == NULL)
        return;
    give_back(&stream->memory);
    free(stream);
}
