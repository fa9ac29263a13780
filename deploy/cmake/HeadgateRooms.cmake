# Rooms (one static library per folder or group of folders), programs, and code generated from proto/*.proto.
set(HG_GENERATED ${CMAKE_BINARY_DIR}/generated)

# Keeps those of the named libraries that exist: a room without sources has no target yet.
function(hg_existing ret_libs)
  set(found)
  foreach(lib IN LISTS ARGN)
    if(TARGET ${lib})
      list(APPEND found ${lib})
    endif()
  endforeach()
  set(${ret_libs} ${found} PARENT_SCOPE)
endfunction()

# hg_settings(TARGET PLANE): what every target of ours has. PLANE (data, control or empty) chooses the OpenSSL.
function(hg_settings target plane)
  target_compile_options(${target} PRIVATE ${HG_WARNINGS})
  target_include_directories(${target} SYSTEM PRIVATE ${HG_GENERATED})
  set_target_properties(${target} PROPERTIES HG_PLANE "${plane}")
endfunction()

# hg_proto_code(GROUP PATTERN...): how FOLDER/NAME.proto becomes generated/FOLDER/NAME.pb-c.{c,h}, included as
# "FOLDER/NAME.pb-c.h". Users of the headers wait for the target hg_generated, which waits for every group. A file is
# written anew when any of its own group has changed. Imports in a .proto are written from the project root:
# import "proto/resources.proto".
add_custom_target(hg_generated)
function(hg_proto_code group)
  find_program(HG_PROTOC_C protoc-c REQUIRED)
  list(TRANSFORM ARGN PREPEND ${CMAKE_SOURCE_DIR}/)
  file(GLOB protos CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR} ${ARGN})
  set(outputs)
  foreach(proto IN LISTS protos)
    string(REGEX REPLACE "\\.proto$" ".pb-c" stem ${HG_GENERATED}/${proto})
    add_custom_command(OUTPUT ${stem}.c ${stem}.h
      COMMAND ${CMAKE_COMMAND} -E make_directory ${HG_GENERATED}
      COMMAND ${HG_PROTOC_C} -I${CMAKE_SOURCE_DIR} --c_out=${HG_GENERATED} ${proto}
      WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} DEPENDS ${protos} COMMENT "protoc-c ${proto}" VERBATIM)
    set_source_files_properties(${stem}.c PROPERTIES COMPILE_OPTIONS -w)
    list(APPEND outputs ${stem}.c ${stem}.h)
  endforeach()
  add_custom_target(${group} DEPENDS ${outputs})
  add_dependencies(hg_generated ${group})
endfunction()

# hg_room(NAME [HOT] [PLANE data|control] GLOB FOLDER... [EXCEPT FOLDER...] LIBS TARGET...): the *.c of these folders and the
# code of their *.proto. main.c is never part of a room. HOT: requests go through it (HeadgateProfile).
function(hg_room name)
  cmake_parse_arguments(arg "HOT" "PLANE" "GLOB;EXCEPT;LIBS" ${ARGN})
  list(TRANSFORM arg_GLOB PREPEND ${CMAKE_SOURCE_DIR}/)
  list(TRANSFORM arg_GLOB APPEND /*.c OUTPUT_VARIABLE c_patterns)
  list(TRANSFORM arg_GLOB APPEND /*.proto OUTPUT_VARIABLE proto_patterns)
  file(GLOB sources CONFIGURE_DEPENDS ${c_patterns})
  file(GLOB generated CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR} ${proto_patterns})
  list(TRANSFORM generated PREPEND ${HG_GENERATED}/)
  list(TRANSFORM generated REPLACE "\\.proto$" ".pb-c.c")
  list(APPEND sources ${generated})
  list(FILTER sources EXCLUDE REGEX "/main\\.c$")
  foreach(folder IN LISTS arg_EXCEPT)
    list(FILTER sources EXCLUDE REGEX "/${folder}/")
  endforeach()
  if(NOT sources)
    return()
  endif()
  add_library(${name} STATIC ${sources})
  hg_settings(${name} "${arg_PLANE}")
  hg_existing(libs ${arg_LIBS})
  target_link_libraries(${name} PUBLIC ${libs})
  add_dependencies(${name} hg_generated)
  if(arg_HOT)
    hg_use_profile(${name} ${sources})
  endif()
endfunction()

# hg_executable(NAME PLANE SOURCES FILE... LIBS TARGET...): any program of ours, tests included.
function(hg_executable name plane)
  cmake_parse_arguments(arg "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  hg_settings(${name} "${plane}")
  hg_existing(libs ${arg_LIBS})
  target_link_libraries(${name} PRIVATE ${libs})
  add_dependencies(${name} hg_generated)
endfunction()

# hg_program(NAME [PLANE data|control] MAIN FILE LIBS TARGET...): an installed program; left out while FILE is missing.
function(hg_program name)
  cmake_parse_arguments(arg "" "PLANE;MAIN" "LIBS" ${ARGN})
  file(GLOB main CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${arg_MAIN})
  if(main)
    hg_executable(${name} "${arg_PLANE}" SOURCES ${main} LIBS ${arg_LIBS})
    install(TARGETS ${name} RUNTIME DESTINATION bin)
  endif()
endfunction()

# hg_bpf_program(NAME FILE [DEPENDS FILE...]): the eBPF program in FILE becomes generated/xdp/NAME.skel.h; nothing where there is no
# compiler for it (HG_EBPF_FOLDER).
function(hg_bpf_program name file)
  cmake_parse_arguments(arg "" "" "DEPENDS" ${ARGN})
  if(NOT HG_EBPF_FOLDER STREQUAL xdp/libbpf)
    return()
  endif()
  set(object ${HG_GENERATED}/xdp/${name}.bpf.o)
  set(skeleton ${HG_GENERATED}/xdp/${name}.skel.h)
  list(TRANSFORM arg_DEPENDS PREPEND ${CMAKE_SOURCE_DIR}/)
  add_custom_command(OUTPUT ${object} ${skeleton}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${HG_GENERATED}/xdp
    COMMAND ${HG_BPF_CLANG} -target bpf -O2 -g -std=gnu17 -ffreestanding -Wall -Wextra -Werror -I${CMAKE_SOURCE_DIR}
      -isystem /usr/include/${CMAKE_LIBRARY_ARCHITECTURE} -c ${CMAKE_SOURCE_DIR}/${file} -o ${object}
    COMMAND ${HG_BPFTOOL} gen skeleton ${object} name ${name} > ${skeleton}
    DEPENDS ${CMAKE_SOURCE_DIR}/${file} ${arg_DEPENDS} COMMENT "eBPF ${file}" VERBATIM)
  add_custom_target(hg_bpf_${name} DEPENDS ${skeleton})
  add_dependencies(hg_generated hg_bpf_${name})
endfunction()
