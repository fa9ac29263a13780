/* Runs a fuzz target once on every file of the named folders and files: what libFuzzer's -runs=0 does, for compilers
 * without libFuzzer, so that the ordinary tests run every corpus. Arguments that begin with '-' are ignored.
 * Exit code: 0 after every input was run, 1 where there was none or one could not be read. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static int inputs;

static int run_stream(FILE *stream, size_t size)
{
    /* An exact-size block, so that a read past its end is seen. */
    uint8_t *bytes = malloc(size ? size : 1);
    if (!bytes || fread(bytes, 1, size, stream) != size) {
        free(bytes);
        return -1;
    }
    LLVMFuzzerTestOneInput(bytes, size);
    free(bytes);
    inputs++;
    return 0;
}

static int run_file(const char *path, size_t size)
{
    FILE *stream = fopen(path, "rb");
    int result = stream ? run_stream(stream, size) : -1;
    if (stream) {
        fclose(stream);
    }
    if (result) {
        fprintf(stderr, "%s: cannot be read\n", path);
    }
    return result;
}

static int run_path(const char *path);

static int run_folder(const char *path)
{
    struct dirent **entries;
    int result = 0;
    int count = scandir(path, &entries, NULL, alphasort);
    if (count < 0) {
        perror(path);
        return -1;
    }
    for (int i = 0; i < count; i++) {
        char child[4096];
        snprintf(child, sizeof child, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.' && run_path(child)) {
            result = -1;
        }
        free(entries[i]);
    }
    free(entries);
    return result;
}

static int run_path(const char *path)
{
    struct stat st;
    if (stat(path, &st)) {
        perror(path);
        return -1;
    }
    return S_ISDIR(st.st_mode) ? run_folder(path) : run_file(path, (size_t)st.st_size);
}

int main(int argc, char **argv)
{
    int result = 0;
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-' && run_path(argv[i])) {
            result = -1;
        }
    }
    printf("%d inputs\n", inputs);
    return result || inputs == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
