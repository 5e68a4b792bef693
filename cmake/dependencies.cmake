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
  set(ducc_file ducc0-0.42.0.tar.gz)
  set(ducc_hash 4e11c59b53a43355b053aebb2a62ee16eebeed026575f7d216cf09d437ce52ef)
  set(ducc_url https://files.pythonhosted.org/packages/d0/28/e2b293b1744a63dd61465fdefe1b15d1d9bdbf6ff72fca4cb2f629084a14)
  set(ducc_dir ${RILL_DOWNLOADS}/ducc0-0.42.0)
  if(NOT EXISTS ${ducc_dir}/src/ducc0/fft/fft1d_impl.h)
    file(DOWNLOAD ${ducc_url}/${ducc_file} ${RILL_DOWNLOADS}/${ducc_file}
         EXPECTED_HASH SHA256=${ducc_hash} STATUS ducc_status TLS_VERIFY ON)
    list(GET ducc_status 0 ducc_failed)
    if(ducc_failed)
      message(FATAL_ERROR "${ducc_url}/${ducc_file} could not be fetched: ${ducc_status}. "
                          "Unpack it elsewhere and name that folder with -DRILL_DUCC=")
    endif()
    file(ARCHIVE_EXTRACT INPUT ${RILL_DOWNLOADS}/${ducc_file} DESTINATION ${RILL_DOWNLOADS})
  endif()
endif()
add_library(rill_ducc INTERFACE)
target_include_directories(rill_ducc SYSTEM INTERFACE ${ducc_dir}/src)

add_library(rill_private_dependencies INTERFACE)
target_link_libraries(rill_private_dependencies INTERFACE
  hwy::hwy hwy::hwy_contrib nlohmann_json::nlohmann_json rill_dnnl rill_ducc rill_openblas
  Threads::Threads ${CMAKE_DL_LIBS})
