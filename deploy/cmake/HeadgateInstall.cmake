# What is installed besides the programs: units, users, examples, the man page, and completions for shells.
include(GNUInstallDirs)

foreach(unit headgate-dataplane headgate-controlplane)
  configure_file(deploy/systemd/${unit}.service.in deploy/${unit}.service @ONLY)
  install(FILES ${CMAKE_BINARY_DIR}/deploy/${unit}.service DESTINATION lib/systemd/system)
endforeach()
install(FILES deploy/systemd/headgate.sysusers DESTINATION lib/sysusers.d RENAME headgate.conf)
install(DIRECTORY deploy/examples DESTINATION ${CMAKE_INSTALL_DOCDIR} PATTERN __pycache__ EXCLUDE)

# hg_install_said(FOLDER NAME ARGUMENT...): installs as FOLDER/NAME what the built headgate prints. It is asked when it is
# installed and not when it is built, since under some sanitizers it does not run in every environment.
function(hg_install_said folder name)
  list(JOIN ARGN " " arguments)
  set(file ${CMAKE_BINARY_DIR}/said/${name})
  install(CODE "execute_process(COMMAND \"$<TARGET_FILE:headgate>\" ${arguments}
    OUTPUT_FILE \"${file}\" COMMAND_ERROR_IS_FATAL ANY)")
  install(FILES ${file} DESTINATION ${folder})
endfunction()

if(TARGET headgate)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/said)
  hg_install_said(${CMAKE_INSTALL_MANDIR}/man1 headgate.1 help --format man)
  hg_install_said(${CMAKE_INSTALL_DATADIR}/bash-completion/completions headgate completion bash)
  hg_install_said(${CMAKE_INSTALL_DATADIR}/zsh/site-functions _headgate completion zsh)
  hg_install_said(${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d headgate.fish completion fish)
endif()
