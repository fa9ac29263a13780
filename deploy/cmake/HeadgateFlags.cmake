# Language, warnings, hardening and sanitizers: everything that is the same for every target of ours.
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_C_FLAGS_RELEASE "-O2 -g -DNDEBUG")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g -fno-omit-frame-pointer")

include(CheckPIESupported)
check_pie_supported(LANGUAGES C)

add_compile_definitions(_GNU_SOURCE HG_VERSION="${HG_VERSION}")
include_directories(${CMAKE_SOURCE_DIR})

# A program loads only what it calls: hg_common names libev, and the holder has no need of it.
add_link_options(LINKER:--as-needed)

set(HG_WARNINGS -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror)
if(CMAKE_BUILD_TYPE STREQUAL Release)
  # What only an assert uses is unused here. The builds with asserts find what nobody uses.
  list(APPEND HG_WARNINGS -Wno-unused-function -Wno-unused-variable -Wno-unused-but-set-variable -Wno-unused-parameter)
endif()

if(HG_SANITIZE)
  add_compile_options(-fsanitize=${HG_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${HG_SANITIZE})
  if(HG_SANITIZE MATCHES address)
    add_compile_definitions(HG_ARENA_EMULATE) # common/arena.h: each piece a heap block, so that overruns are seen
  endif()
endif()

if(HG_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# All is bound at the start (-z now): a call into a shared library can go to its address at once, without a stub on the way.
if(CMAKE_BUILD_TYPE STREQUAL Release)
  add_compile_options(-fno-plt)
  add_link_options(-fno-plt) # with LTO the linker's call makes the code
endif()

# What only GCC knows is for releases: the static analysis reads the commands of a debug build with another compiler.
if(CMAKE_BUILD_TYPE STREQUAL Release AND CMAKE_C_COMPILER_ID STREQUAL GNU)
  # At -O2 it takes most calls for rare. Functions here are short, and nearly all that run serve a request.
  add_compile_options(--param=max-inline-insns-auto=40 --param=inline-min-speedup=10 --param=early-inlining-insns=20
    --param=inline-unit-growth=100)
  # It clears structs of some hundred bytes by "rep stos", whose start costs more than all the stores.
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64")
    add_compile_options(-mmemset-strategy=vector_loop:256:noalign,libcall:-1:noalign)
  endif()
endif()

if(HG_HARDEN)
  # The C library says so with a warning where it knows level 2 only.
  include(CheckCSourceCompiles)
  set(CMAKE_REQUIRED_FLAGS "-O2 -Werror -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3")
  check_c_source_compiles("#include <stdio.h>\nint main(void) { return puts(\"\") < 0; }" HG_FORTIFY_3)
  unset(CMAKE_REQUIRED_FLAGS)
  set(fortify 2)
  if(HG_FORTIFY_3)
    set(fortify 3)
  endif()
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=${fortify} -fstack-protector-strong -fstack-clash-protection)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|i.86")
    add_compile_options(-fcf-protection)
  endif()
  add_link_options(LINKER:-z,relro LINKER:-z,now LINKER:-z,noexecstack)
endif()
