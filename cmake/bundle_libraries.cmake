# Copies to `destination` the shared libraries that `library` needs, directly or not, and that a
# base system does not have. Files, not links: a wheel cannot hold links.
file(GET_RUNTIME_DEPENDENCIES
  LIBRARIES ${library}
  RESOLVED_DEPENDENCIES_VAR needed
  UNRESOLVED_DEPENDENCIES_VAR missing
  PRE_EXCLUDE_REGEXES "^(ld-linux.*|libc|libm|libdl|librt|libpthread|libgcc_s|libstdc\\+\\+)\\.so")
if(missing)
  message(FATAL_ERROR "${library} needs libraries that are not found: ${missing}")
endif()
file(MAKE_DIRECTORY ${destination})
foreach(file IN LISTS needed)
  get_filename_component(name ${file} NAME)
  message(STATUS "Installing: ${destination}/${name}")
  file(COPY_FILE ${file} ${destination}/${name} ONLY_IF_DIFFERENT)
endforeach()
