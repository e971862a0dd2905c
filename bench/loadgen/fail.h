/* A benchmark that met something unexpected has no result: say why and end. */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#define fail(...) (fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), exit(1))
