# The libraries, one target each, named hg_NAME. Data plane and control plane use different builds of OpenSSL:
#
#   data plane     OpenSSL >= 3.5 (QUIC), static, from the prefix that deploy/bootstrap made, or the distribution's
#                  where that is new enough
#   control plane  the system's, because libgrpc is linked with that one
#
# hg_crypto and hg_ssl resolve to one or the other by the HG_PLANE property of the target that is compiled or linked
# (hg_room and hg_program set it), so a library below both planes can name hg_crypto and be linked into either.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

# hg_library(NAME MODULE...): an interface target from pkg-config.
function(hg_library name)
  pkg_check_modules(${name}_pc REQUIRED IMPORTED_TARGET GLOBAL ${ARGN})
  add_library(${name} INTERFACE)
  target_link_libraries(${name} INTERFACE PkgConfig::${name}_pc)
endfunction()

# hg_plain_library(NAME HEADER LIB...): for a library without a pkg-config file, or whose file names half a hundred others
# (grpc), which takes seconds to read.
function(hg_plain_library name header)
  find_path(${name}_include ${header} REQUIRED)
  add_library(${name} INTERFACE)
  target_include_directories(${name} SYSTEM INTERFACE ${${name}_include})
  foreach(lib IN LISTS ARGN)
    find_library(${name}_${lib}_path ${lib} REQUIRED)
    target_link_libraries(${name} INTERFACE ${${name}_${lib}_path})
  endforeach()
endfunction()

hg_library(hg_protobuf_c libprotobuf-c)
hg_library(hg_pcre2 libpcre2-8)
hg_library(hg_xxhash libxxhash)
hg_library(hg_yaml yaml-0.1)
hg_library(hg_cjson libcjson)
hg_library(hg_cares libcares)
hg_library(hg_curl libcurl)
hg_plain_library(hg_ev ev.h ev)
hg_plain_library(hg_grpc grpc/grpc.h grpc gpr)
add_library(hg_thread INTERFACE)
target_link_libraries(hg_thread INTERFACE Threads::Threads)
add_library(hg_math INTERFACE)
target_link_libraries(hg_math INTERFACE m)
hg_library(hg_system_crypto libcrypto)
hg_library(hg_system_ssl libssl libcrypto)

# --- the prefix of deploy/bootstrap; what is not in it is the distribution's
if(NOT HG_DEPS_PREFIX)
  execute_process(COMMAND ${CMAKE_SOURCE_DIR}/deploy/bootstrap --print-prefix
    OUTPUT_VARIABLE prefix OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "OpenSSL >= 3.5, ngtcp2 and nghttp3 are not prepared. Run deploy/bootstrap (make build does).")
  endif()
  set(HG_DEPS_PREFIX "${prefix}")
endif()

# hg_prefix_library(NAME MODULE LIB [LIBS TARGET...]): static from the prefix, or by pkg-config.
function(hg_prefix_library name module lib)
  cmake_parse_arguments(arg "" "" "LIBS" ${ARGN})
  if(NOT EXISTS ${HG_DEPS_PREFIX}/lib/lib${lib}.a)
    hg_library(${name} ${module})
    return()
  endif()
  add_library(${name} STATIC IMPORTED GLOBAL)
  set_target_properties(${name} PROPERTIES IMPORTED_LOCATION ${HG_DEPS_PREFIX}/lib/lib${lib}.a)
  target_include_directories(${name} SYSTEM INTERFACE ${HG_DEPS_PREFIX}/include)
  target_link_libraries(${name} INTERFACE ${arg_LIBS})
endfunction()

hg_prefix_library(hg_new_crypto libcrypto>=3.5 crypto LIBS Threads::Threads ${CMAKE_DL_LIBS})
hg_prefix_library(hg_new_ssl libssl>=3.5 ssl LIBS hg_new_crypto)
hg_prefix_library(hg_ngtcp2 libngtcp2 ngtcp2)
hg_prefix_library(hg_ngtcp2_crypto libngtcp2_crypto_ossl ngtcp2_crypto_ossl LIBS hg_ngtcp2 hg_new_ssl)
hg_prefix_library(hg_nghttp3 libnghttp3 nghttp3)
add_library(hg_quic INTERFACE)
target_link_libraries(hg_quic INTERFACE hg_ngtcp2_crypto hg_nghttp3)

set(is_data "$<STREQUAL:$<TARGET_PROPERTY:HG_PLANE>,data>")

# --- nghttp2: the control plane's is shared, since libcurl brings that one along. The data plane's can be the archive of the
# same package, whose functions call each other directly: 2 % of its instructions for a small request. Then fixes of the
# distribution come with the next build only. With a static OpenSSL that is so anyway, so then it is the default.
set(has_static_ssl OFF)
if(EXISTS ${HG_DEPS_PREFIX}/lib/libssl.a)
  set(has_static_ssl ON)
endif()
option(HG_STATIC_NGHTTP2 "Link the data plane with libnghttp2.a" ${has_static_ssl})
hg_library(hg_shared_nghttp2 libnghttp2)
set(nghttp2_of_data hg_shared_nghttp2)
if(HG_STATIC_NGHTTP2)
  find_library(HG_NGHTTP2_ARCHIVE libnghttp2.a HINTS ${hg_shared_nghttp2_pc_LIBDIR})
  if(HG_NGHTTP2_ARCHIVE)
    set(nghttp2_of_data ${HG_NGHTTP2_ARCHIVE})
  else()
    message(STATUS "No libnghttp2.a: the data plane loads libnghttp2.so")
  endif()
endif()
add_library(hg_nghttp2 INTERFACE)
target_include_directories(hg_nghttp2 SYSTEM INTERFACE ${hg_shared_nghttp2_pc_INCLUDE_DIRS})
target_link_libraries(hg_nghttp2 INTERFACE "$<IF:${is_data},${nghttp2_of_data},hg_shared_nghttp2>")

add_library(hg_crypto INTERFACE)
target_link_libraries(hg_crypto INTERFACE "$<IF:${is_data},hg_new_crypto,hg_system_crypto>")
add_library(hg_ssl INTERFACE)
target_link_libraries(hg_ssl INTERFACE "$<IF:${is_data},hg_new_ssl,hg_system_ssl>")

# --- eBPF: compiled by clang, loaded with libbpf from the skeleton that bpftool makes. Without one of them classic BPF has to do.
option(HG_EBPF "Build the eBPF program that steers datagrams" ON)
set(HG_EBPF_FOLDER xdp/without)
add_library(hg_bpf INTERFACE)
if(HG_EBPF)
  find_program(HG_BPF_CLANG clang)
  find_program(HG_BPFTOOL bpftool PATHS /usr/sbin /sbin)
  pkg_check_modules(hg_bpf_pc IMPORTED_TARGET GLOBAL libbpf>=1.0)
  if(HG_BPF_CLANG AND HG_BPFTOOL AND hg_bpf_pc_FOUND)
    target_link_libraries(hg_bpf INTERFACE PkgConfig::hg_bpf_pc)
    set(HG_EBPF_FOLDER xdp/libbpf)
  else()
    message(WARNING "No clang, bpftool or libbpf >= 1.0: built without eBPF, datagrams are steered by classic BPF")
  endif()
endif()
