/* Decodes a .vqa file from the command line; see USAGE. */

#include "vqaudio.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char USAGE[] =
    "usage: vqaudio-decode [--seed N] [--rate HZ] [--float | --codes] MODEL_FOLDER IN.vqa OUT\n"
    "  OUT is a WAV file of 16 bits, with --float of 32, or with --codes a text file: a line of codes\n"
    "  for each channel; - is standard output, for --codes alone\n";

#define BLOCK_FRAMES 4096
#define HEADER_BYTES 44

typedef struct request {
    const char *folder, *input, *output;
    vqaudio_options options;
    int floats, codes;
} request;

static int complain(const char *what, const char *why)
{
    fprintf(stderr, "vqaudio-decode: %s: %s\n", what, why);
    return 1;
}

static size_t read_file(void *from, uint8_t *bytes, size_t most)
{
    return fread(bytes, 1, most, from);
}

/* A whole file in memory; NULL where it cannot be read. */
static void *whole_file(const char *folder, const char *name, size_t *size)
{
    size_t room = strlen(folder) + strlen(name) + 2, most = 1 << 16, more;
    char *path = malloc(room), *data = malloc(most), *larger;
    FILE *file = NULL;
    *size = 0;
    if (path != NULL && data != NULL) {
        snprintf(path, room, "%s/%s", folder, name);
        file = fopen(path, "rb");
    }
    while (file != NULL && data != NULL && (more = fread(data + *size, 1, most - *size, file)) > 0) {
        *size += more;
        if (*size == most && (larger = realloc(data, most *= 2)) != NULL)
            data = larger;
        else if (*size == most)
            break;
    }
    if (file == NULL || ferror(file) || !feof(file)) {
        complain(path == NULL ? name : path, file == NULL ? strerror(errno) : "cannot be read");
        free(data);
        data = NULL;
    }
    if (file != NULL)
        fclose(file);
    free(path);
    return data;
}

static vqaudio_model *load_folder(const char *folder)
{
    size_t weight_bytes = 0, config_bytes = 0;
    void *weights = whole_file(folder, "model.safetensors", &weight_bytes), *config = NULL;
    vqaudio_model *model = NULL;
    vqaudio_error error;
    if (weights != NULL)
        config = whole_file(folder, "config.json", &config_bytes);
    if (config != NULL && (model = vqaudio_load(weights, weight_bytes, config, config_bytes, &error)) == NULL)
        complain(folder, error.text);
    free(weights);
    free(config);
    return model;
}

/* Tells of each block that is lost. */
typedef struct listener {
    const char *name;
    vqaudio_info info;
    int lost;
} listener;

static void tell_lost(void *of, int channel, uint64_t first, uint64_t end)
{
    listener *l = of;
    double seconds = (double)l->info.frames / l->info.sample_rate_hz / (double)l->info.tokens;
    l->lost++;
    fprintf(stderr, "vqaudio-decode: %s: channel %d is damaged and silent from %.2f s to %.2f s\n", l->name,
            channel + 1, (double)first * seconds, (double)end * seconds);
}

static void put(uint8_t *to, uint32_t value, int bytes)
{
    for (; bytes-- > 0; value >>= 8)
        *to++ = (uint8_t)value;
}

static int write_header(FILE *file, const request *r, const vqaudio_info *info)
{
    uint32_t bytes = r->floats ? 4 : 2, frame = bytes * info->channels, data = (uint32_t)(info->output_frames * frame);
    uint8_t head[HEADER_BYTES];
    memcpy(head, "RIFF----WAVEfmt ", 16);
    put(head + 4, data + HEADER_BYTES - 8, 4);
    put(head + 16, 16, 4);
    put(head + 20, r->floats ? 3 : 1, 2);
    put(head + 22, info->channels, 2);
    put(head + 24, info->output_rate_hz, 4);
    put(head + 28, info->output_rate_hz * frame, 4);
    put(head + 32, frame, 2);
    put(head + 34, 8 * bytes, 2);
    memcpy(head + 36, "data", 4);
    put(head + 40, data, 4);
    return fwrite(head, 1, HEADER_BYTES, file) == HEADER_BYTES;
}

static void pack(uint8_t *to, float value, int floats)
{
    uint32_t bits;
    double scaled = 32768.0 * (double)value;
    if (floats) {
        memcpy(&bits, &value, sizeof bits);
        put(to, bits, 4);
        return;
    }
    scaled = scaled > 32767 ? 32767 : scaled > -32768 ? scaled : -32768;
    put(to, (uint32_t)(int32_t)(scaled < 0 ? scaled - 0.5 : scaled + 0.5), 2);
}

static int write_sound(FILE *file, vqaudio_stream *stream, const request *r, const vqaudio_info *info,
                       vqaudio_error *error)
{
    size_t values = (size_t)BLOCK_FRAMES * info->channels, bytes = r->floats ? 4 : 2, count, i;
    float *sound = malloc(values * sizeof *sound);
    uint8_t *packed = malloc(values * bytes);
    int well = sound != NULL && packed != NULL && write_header(file, r, info);
    error->text[0] = 0;
    while (well && (count = info->channels * vqaudio_sound(stream, sound, BLOCK_FRAMES, error)) > 0) {
        for (i = 0; i < count; i++)
            pack(packed + i * bytes, sound[i], r->floats);
        well = fwrite(packed, bytes, count, file) == count;
    }
    free(sound);
    free(packed);
    return well && error->text[0] == 0;
}

/* A line for each channel: so many codes must be in memory at once. */
static int write_codes(FILE *file, vqaudio_stream *stream, const vqaudio_info *info, vqaudio_error *error)
{
    size_t range = (size_t)info->tokens_per_range * info->channels, tokens = (size_t)info->tokens, done = 0, count, c,
           i;
    uint16_t *codes = malloc(range * sizeof *codes), *all = NULL;
    int well = codes != NULL && info->tokens < (1 << 28) / info->channels;
    error->text[0] = 0;
    if (well)
        well = (all = malloc((tokens * info->channels + 1) * sizeof *all)) != NULL;
    while (well && (count = vqaudio_codes(stream, codes, error)) > 0) {
        for (c = 0; c < info->channels; c++)
            memcpy(all + c * tokens + done, codes + c * count, count * sizeof *codes);
        done += count;
    }
    for (c = 0; well && c < info->channels; c++)
        for (i = 0; i <= tokens; i++)
            well = (i < tokens ? fprintf(file, "%d ", all[c * tokens + i]) : fputs("\n", file)) >= 0;
    free(codes);
    free(all);
    return well && error->text[0] == 0;
}

/* Writes what was asked for beside `output`, and moves it there when it is whole. */
static int write_output(vqaudio_stream *stream, const request *r, const vqaudio_info *info)
{
    size_t room = strlen(r->output) + 6;
    int standard = strcmp(r->output, "-") == 0, well;
    char *partial = malloc(room);
    vqaudio_error error;
    FILE *file = NULL;
    if (partial != NULL) {
        snprintf(partial, room, "%s.part", r->output);
        file = standard ? stdout : fopen(partial, "wb");
    }
    error.text[0] = 0;
    well = file != NULL &&
           (r->codes ? write_codes(file, stream, info, &error) : write_sound(file, stream, r, info, &error));
    if (file != NULL)
        well = (standard ? fflush(file) : fclose(file)) == 0 && well;
    well = well && (standard || rename(partial, r->output) == 0);
    if (!well && !standard && file != NULL)
        remove(partial);
    if (!well)
        complain(error.text[0] ? r->input : r->output, error.text[0] ? error.text : "cannot be written");
    free(partial);
    return !well;
}

static int decode(const vqaudio_model *model, request *r)
{
    FILE *file = fopen(r->input, "rb");
    listener heard = {NULL, {0}, 0};
    vqaudio_stream *stream;
    vqaudio_error error;
    int failed;
    if (file == NULL)
        return complain(r->input, strerror(errno));
    heard.name = r->input;
    r->options.lost = tell_lost;
    r->options.listener = &heard;
    stream = vqaudio_open(model, read_file, file, &r->options, &heard.info, &error);
    if (stream == NULL)
        failed = complain(r->input, error.text);
    else if (!r->codes && heard.info.output_frames > (0xffffffffu - HEADER_BYTES) / 4 / heard.info.channels)
        failed = complain(r->input, "the sound is longer than a WAV file can be");
    else
        failed = write_output(stream, r, &heard.info);
    vqaudio_close(stream);
    fclose(file);
    return failed || heard.lost;
}

/* A whole number, or 0 with *well cleared. */
static uint64_t number_of(const char *text, int *well)
{
    char *end = NULL;
    unsigned long long value;
    errno = 0;
    value = text == NULL || *text < '0' || *text > '9' ? 0 : strtoull(text, &end, 10);
    if (end == NULL || *end || errno)
        *well = 0;
    return value;
}

static int parse(int count, char **words, request *r)
{
    const char *places[3];
    int found = 0, well = 1, i;
    for (i = 1; i < count && well; i++) {
        if (strcmp(words[i], "--seed") == 0)
            r->options.seed = number_of(words[++i], &well);
        else if (strcmp(words[i], "--rate") == 0)
            r->options.sample_rate_hz = (uint32_t)number_of(words[++i], &well);
        else if (strcmp(words[i], "--float") == 0)
            r->floats = 1;
        else if (strcmp(words[i], "--codes") == 0)
            r->codes = 1;
        else if ((words[i][0] == '-' && words[i][1]) || found == 3)
            well = 0;
        else
            places[found++] = words[i];
    }
    if (!well || found < 3 || (strcmp(places[2], "-") == 0 && !r->codes))
        return 0;
    r->folder = places[0];
    r->input = places[1];
    r->output = places[2];
    return 1;
}

int main(int count, char **words)
{
    request r = {NULL, NULL, NULL, {0, 0, NULL, NULL}, 0, 0};
    vqaudio_model *model;
    int failed;
    if (!parse(count, words, &r)) {
        fputs(USAGE, stderr);
        return 2;
    }
    if ((model = load_folder(r.folder)) == NULL)
        return 1;
    failed = decode(model, &r);
    vqaudio_unload(model);
    return failed ? 1 : 0;
}
