# What a data plane under load does how often: GCC inlines and lays out the code of a release by that. deploy/profile/record
# writes the counts (deploy/profile/README.md), for one version of GCC and one architecture; any other builds without them, and
# so do functions that have changed since.
option(HG_RECORD_PROFILE "Programs that count what they do, for deploy/profile/record" OFF)
string(REGEX MATCH "^[0-9]+\\.[0-9]+" HG_GCC_VERSION "${CMAKE_C_COMPILER_VERSION}")
set(HG_PROFILE_ARCHIVE ${CMAKE_SOURCE_DIR}/deploy/profile/gcc-${HG_GCC_VERSION}-${CMAKE_SYSTEM_PROCESSOR}.tar.xz)
set(HG_PROFILE_FOLDER ${CMAKE_BINARY_DIR}/profile)

# Functions go by their number in the file: by default their path would count, and no other folder could use the counts.
set(HG_PROFILE_OPTIONS --param=profile-func-internal-id=1)
if(HG_RECORD_PROFILE)
  list(APPEND HG_PROFILE_OPTIONS -fprofile-generate -fprofile-update=atomic)
elseif(CMAKE_BUILD_TYPE STREQUAL Release AND CMAKE_C_COMPILER_ID STREQUAL GNU AND EXISTS ${HG_PROFILE_ARCHIVE})
  # A function without counts was not run, or has changed: nothing to warn of. One that has changed may take the number of
  # another one, and so its counts, which do not fit: that is no error either.
  list(APPEND HG_PROFILE_OPTIONS -fprofile-use=${HG_PROFILE_FOLDER} -fprofile-partial-training -fprofile-correction
    -Wno-missing-profile -Wno-coverage-mismatch)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${HG_PROFILE_ARCHIVE})
  file(SHA256 ${HG_PROFILE_ARCHIVE} hash)
  if(NOT EXISTS ${HG_PROFILE_FOLDER}/${hash})
    file(REMOVE_RECURSE ${HG_PROFILE_FOLDER})
    file(ARCHIVE_EXTRACT INPUT ${HG_PROFILE_ARCHIVE} DESTINATION ${HG_PROFILE_FOLDER}/by-source)
    file(TOUCH ${HG_PROFILE_FOLDER}/${hash})
  endif()
  message(STATUS "Hot code is laid out by ${HG_PROFILE_ARCHIVE}")
else()
  set(HG_PROFILE_OPTIONS)
  if(CMAKE_BUILD_TYPE STREQUAL Release)
    message(STATUS "Hot code is laid out by guesses: there is no ${HG_PROFILE_ARCHIVE}")
  endif()
endif()

# hg_use_profile(TARGET SOURCE...): compiles with the counts of these sources, or counts. GCC looks for those of
# CMakeFiles/TARGET.dir/NAME.c under the path of the object, with # for each /.
function(hg_use_profile target)
  if(NOT HG_PROFILE_OPTIONS)
    return()
  endif()
  target_compile_options(${target} PRIVATE ${HG_PROFILE_OPTIONS})
  target_link_options(${target} PUBLIC $<$<BOOL:${HG_RECORD_PROFILE}>:-fprofile-generate>)
  foreach(source IN LISTS ARGN)
    string(REPLACE ${CMAKE_SOURCE_DIR}/ "" name ${source})
    string(REPLACE / "#" mangled ${CMAKE_BINARY_DIR}/CMakeFiles/${target}.dir/${name}.gcda)
    set(packed ${HG_PROFILE_FOLDER}/by-source/${name}.gcda)
    set(counts ${HG_PROFILE_FOLDER}/${mangled})
    if(EXISTS ${packed})
      file(RENAME ${packed} ${counts})
      file(TOUCH ${counts}) # what was compiled before it is compiled anew
    endif()
    if(EXISTS ${counts})
      set_property(SOURCE ${source} APPEND PROPERTY OBJECT_DEPENDS ${counts})
    endif()
  endforeach()
endfunction()
