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

add_library(rill_private_dependencies INTERFACE)
target_link_libraries(rill_private_dependencies INTERFACE
  hwy::hwy hwy::hwy_contrib nlohmann_json::nlohmann_json rill_dnnl rill_openblas
  ZLIB::ZLIB Threads::Threads ${CMAKE_DL_LIBS})
