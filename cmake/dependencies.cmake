# Finds what Rill is built from. Only fmt shows in the public headers, and it is used header-only.

set(python_components Interpreter)
if(RILL_BUILD_PYTHON)
  list(APPEND python_components Development.Module)
endif()
find_package(Python 3.10 REQUIRED COMPONENTS ${python_components})

find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(hwy REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(ZLIB REQUIRED)

# oneDNN, by its files: its CMake package asks for OpenCL's headers, which nothing here includes.
find_path(DNNL_INCLUDE_DIR oneapi/dnnl/dnnl.hpp REQUIRED)
find_library(DNNL_LIBRARY dnnl REQUIRED)
add_library(rill_dnnl INTERFACE)
target_include_directories(rill_dnnl SYSTEM INTERFACE ${DNNL_INCLUDE_DIR})
target_link_libraries(rill_dnnl INTERFACE ${DNNL_LIBRARY})

# BLAS and LAPACK from the Python package scipy-openblas32; its symbols begin with scipy_.
execute_process(
  COMMAND ${Python_EXECUTABLE} -c "import scipy_openblas32 as blas
print(blas.get_include_dir(), blas.get_lib_dir(), blas.get_library(), sep=';', end='')"
  OUTPUT_VARIABLE openblas RESULT_VARIABLE openblas_missing ERROR_QUIET)
if(openblas_missing)
  message(FATAL_ERROR "${Python_EXECUTABLE} has no scipy_openblas32: pip install scipy-openblas32")
endif()
list(GET openblas 0 openblas_include)
list(GET openblas 1 openblas_dir)
list(GET openblas 2 openblas_name)
add_library(rill_openblas INTERFACE)
target_include_directories(rill_openblas SYSTEM INTERFACE ${openblas_include})
target_compile_definitions(rill_openblas INTERFACE BLAS_SYMBOL_PREFIX=scipy_)
target_link_libraries(rill_openblas INTERFACE ${openblas_dir}/lib${openblas_name}.so)

# The headers of DUCC's FFT, from the source package ducc0 of PyPI. Only what it licenses under
# BSD-3-Clause is used: fft/, infra/ and math/. RILL_DUCC names an unpacked copy where there is no
# network, RILL_DOWNLOADS a folder that keeps the package between builds.
set(RILL_DUCC "" CACHE PATH "An unpacked source package ducc0, instead of a download")
set(RILL_DOWNLOADS "${PROJECT_SOURCE_DIR}/.cache/downloads" CACHE PATH "Where downloads are kept")
if(RILL_DUCC)
  set(ducc_dir ${RILL_DUCC})
else()
  set(ducc_version 0.42.0)
  set(ducc_hash 4e11c59b53a43355b053aebb2a62ee16eebeed026575f7d216cf09d437ce52ef)
  set(ducc_dir ${RILL_DOWNLOADS}/ducc0-${ducc_version})
  set(ducc_file ${ducc_dir}.tar.gz)
  if(NOT EXISTS ${ducc_dir}/src/ducc0/fft/fft1d_impl.h)
    execute_process(
      COMMAND ${Python_EXECUTABLE} -m pip download --quiet --no-deps --no-binary ducc0
              --dest ${RILL_DOWNLOADS} ducc0==${ducc_version}
      RESULT_VARIABLE ducc_failed ERROR_VARIABLE ducc_error)
    if(ducc_failed)
      message(FATAL_ERROR "pip could not fetch the source package ducc0==${ducc_version}: "
                          "${ducc_error}\nUnpack it elsewhere and name that folder with -DRILL_DUCC=")
    endif()
    file(SHA256 ${ducc_file} ducc_found)
    if(NOT ducc_found STREQUAL ducc_hash)
      message(FATAL_ERROR "${ducc_file} is not the package that Rill was tested with")
    endif()
    file(ARCHIVE_EXTRACT INPUT ${ducc_file} DESTINATION ${RILL_DOWNLOADS})
  endif()
endif()
add_library(rill_ducc INTERFACE)
target_include_directories(rill_ducc SYSTEM INTERFACE ${ducc_dir}/src)
# What is built from it must come with its notice: the comment at the head of this file.
set(ducc_notice ${ducc_dir}/src/ducc0/fft/fft1d_impl.h)

add_library(rill_private_dependencies INTERFACE)
target_link_libraries(rill_private_dependencies INTERFACE
  hwy::hwy hwy::hwy_contrib nlohmann_json::nlohmann_json rill_dnnl rill_ducc rill_openblas
  ZLIB::ZLIB Threads::Threads ${CMAKE_DL_LIBS})
