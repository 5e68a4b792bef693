# Two layouts, both self-contained. The shared libraries that a base system lacks are copied.
#   C++:    lib/librill.so, its libraries in lib/rill/, headers, the CMake package rill
#   wheel:  rill/core.*.so, librill.so and its libraries in rill/lib/
# RPATH rather than RUNPATH: the loader then applies it to the libraries of those libraries too.
target_link_options(rill PRIVATE -Wl,--disable-new-dtags)

if(SKBUILD)
  set(library_dir rill/lib)
  set(bundle_dir rill/lib)
  set_target_properties(rill PROPERTIES INSTALL_RPATH $ORIGIN)
  install(TARGETS rill LIBRARY DESTINATION ${library_dir})
else()
  include(CMakePackageConfigHelpers)
  set(library_dir ${CMAKE_INSTALL_LIBDIR})
  set(bundle_dir ${CMAKE_INSTALL_LIBDIR}/rill)
  set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/rill)
  set_target_properties(rill PROPERTIES INSTALL_RPATH $ORIGIN/rill)
  install(TARGETS rill EXPORT rill-targets LIBRARY DESTINATION ${library_dir})
  install(DIRECTORY rill/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/rill
          FILES_MATCHING PATTERN "*.h" PATTERN "*.def" PATTERN "cuda" EXCLUDE)
  install(EXPORT rill-targets NAMESPACE rill:: DESTINATION ${package_dir})
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/rill-config-version.cmake
                                   COMPATIBILITY SameMinorVersion)
  install(FILES cmake/rill-config.cmake ${PROJECT_BINARY_DIR}/rill-config-version.cmake
          DESTINATION ${package_dir})
endif()

install(CODE "
  set(library \"$<TARGET_FILE:rill>\")
  set(destination \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${bundle_dir}\")")
install(SCRIPT cmake/bundle_libraries.cmake)

# The notice that DUCC's licence (BSD-3-Clause) asks of binaries: the comments that its FFT begins
# with.
file(READ ${ducc_notice} notice LIMIT 4096)
string(FIND "${notice}" "DAMAGE." end)
string(SUBSTRING "${notice}" 0 ${end} notice)
file(WRITE ${PROJECT_BINARY_DIR}/LICENSE.ducc0 "${notice}DAMAGE.\n*/\n")
if(SKBUILD)
  install(FILES ${PROJECT_BINARY_DIR}/LICENSE.ducc0 DESTINATION rill/licenses)
else()
  install(FILES ${PROJECT_BINARY_DIR}/LICENSE.ducc0 LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/licenses/rill)
endif()
