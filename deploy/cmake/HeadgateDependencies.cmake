# The libraries, one target each, named hg_NAME. Data plane and control plane use different builds of OpenSSL:
#
#   data plane     OpenSSL >= 3.5 (QUIC), static, from the prefix that deploy/bootstrap made; where the distribution has
#                  3.5 the prefix is /usr, and its shared library is used
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

# hg_plain_library(NAME HEADER LIB): for a library without a pkg-config file.
function(hg_plain_library name header lib)
  find_path(${name}_include ${header} REQUIRED)
  find_library(${name}_path ${lib} REQUIRED)
  add_library(${name} INTERFACE)
  target_include_directories(${name} SYSTEM INTERFACE ${${name}_include})
  target_link_libraries(${name} INTERFACE ${${name}_path})
endfunction()

hg_library(hg_protobuf_c libprotobuf-c)
hg_library(hg_pcre2 libpcre2-8)
hg_library(hg_nghttp2 libnghttp2)
hg_library(hg_xxhash libxxhash)
hg_library(hg_yaml yaml-0.1)
hg_library(hg_cjson libcjson)
hg_library(hg_grpc grpc gpr)
hg_plain_library(hg_ev ev.h ev)
add_library(hg_thread INTERFACE)
target_link_libraries(hg_thread INTERFACE Threads::Threads)
add_library(hg_math INTERFACE)
target_link_libraries(hg_math INTERFACE m)
hg_library(hg_system_crypto libcrypto)
hg_library(hg_system_ssl libssl libcrypto)

# --- the prefix of deploy/bootstrap
if(NOT HG_DEPS_PREFIX)
  execute_process(COMMAND ${CMAKE_SOURCE_DIR}/deploy/bootstrap --print-prefix
    OUTPUT_VARIABLE prefix OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(failed)
    message(WARNING "deploy/bootstrap has not been run: the data plane is linked with the system's OpenSSL and without QUIC")
    set(prefix "")
  endif()
  set(HG_DEPS_PREFIX "${prefix}" CACHE PATH "Where deploy/bootstrap put OpenSSL >= 3.5, ngtcp2 and nghttp3" FORCE)
endif()

# hg_prefix_library(NAME HEADER LIB): a static library of the prefix.
function(hg_prefix_library name header lib)
  find_path(${name}_include ${header} PATHS ${HG_DEPS_PREFIX}/include NO_DEFAULT_PATH REQUIRED)
  find_library(${name}_path lib${lib}.a PATHS ${HG_DEPS_PREFIX}/lib NO_DEFAULT_PATH REQUIRED)
  add_library(${name} STATIC IMPORTED GLOBAL)
  set_target_properties(${name} PROPERTIES IMPORTED_LOCATION ${${name}_path})
  target_include_directories(${name} SYSTEM INTERFACE ${${name}_include})
  target_link_libraries(${name} INTERFACE ${ARGN})
endfunction()

add_library(hg_quic INTERFACE)
if(NOT HG_DEPS_PREFIX OR HG_DEPS_PREFIX STREQUAL /usr)
  set(data_crypto hg_system_crypto)
  set(data_ssl hg_system_ssl)
  if(HG_DEPS_PREFIX)
    hg_library(hg_ngtcp2 libngtcp2 libngtcp2_crypto_ossl libnghttp3)
    target_link_libraries(hg_quic INTERFACE hg_ngtcp2)
  endif()
else()
  hg_prefix_library(hg_prefix_crypto openssl/evp.h crypto Threads::Threads ${CMAKE_DL_LIBS})
  hg_prefix_library(hg_prefix_ssl openssl/ssl.h ssl hg_prefix_crypto)
  hg_prefix_library(hg_ngtcp2 ngtcp2/ngtcp2.h ngtcp2)
  hg_prefix_library(hg_ngtcp2_crypto ngtcp2/ngtcp2_crypto_ossl.h ngtcp2_crypto_ossl hg_ngtcp2 hg_prefix_ssl)
  hg_prefix_library(hg_nghttp3 nghttp3/nghttp3.h nghttp3)
  set(data_crypto hg_prefix_crypto)
  set(data_ssl hg_prefix_ssl)
  target_link_libraries(hg_quic INTERFACE hg_ngtcp2_crypto hg_nghttp3)
endif()

set(is_data "$<STREQUAL:$<TARGET_PROPERTY:HG_PLANE>,data>")
add_library(hg_crypto INTERFACE)
target_link_libraries(hg_crypto INTERFACE "$<IF:${is_data},${data_crypto},hg_system_crypto>")
add_library(hg_ssl INTERFACE)
target_link_libraries(hg_ssl INTERFACE "$<IF:${is_data},${data_ssl},hg_system_ssl>")
