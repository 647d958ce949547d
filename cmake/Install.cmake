# What `cmake --install` puts in place: the binary with the example models, and the client library with its header, a CMake
# package (find_package(quern)) and a pkg-config file.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# The client library as others link it: one shared object with everything of ours in it, built without sanitizers whatever the
# preset, so that an ordinary program can use it.
file(GLOB sdk_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/src/client/*.cc" "${CMAKE_SOURCE_DIR}/src/base/*.cc")
list(FILTER sdk_sources EXCLUDE REGEX "_(test|fuzz|bench)\\.cc$")
add_library(quern_sdk SHARED ${sdk_sources})
add_library(quern::quern ALIAS quern_sdk)
set_target_properties(quern_sdk PROPERTIES OUTPUT_NAME quern EXPORT_NAME quern VERSION ${PROJECT_VERSION} SOVERSION 0)
target_compile_features(quern_sdk PUBLIC cxx_std_23)
target_include_directories(quern_sdk PRIVATE "${CMAKE_SOURCE_DIR}/src"
                           PUBLIC "$<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include>" "$<INSTALL_INTERFACE:include>")
target_link_libraries(quern_sdk PRIVATE ${QUERN_LIBS_base} ${QUERN_LIBS_client})
# Our Boost.JSON is not that of a program which has another one. And UBSan looks at an object's type through a pipe, which
# the tests without a descriptor to spare do not have.
set_source_files_properties("${CMAKE_SOURCE_DIR}/src/base/boost_json.cc" PROPERTIES COMPILE_OPTIONS
                            "-fvisibility=hidden;-fno-sanitize=vptr")

install(TARGETS quern COMPONENT server)
install(DIRECTORY models/ DESTINATION "${CMAKE_INSTALL_DATADIR}/quern/models" COMPONENT server USE_SOURCE_PERMISSIONS
        PATTERN node_modules EXCLUDE PATTERN "test_*" EXCLUDE)

install(TARGETS quern_sdk EXPORT quernTargets COMPONENT sdk)
install(FILES include/quern/client.h DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/quern" COMPONENT sdk)
install(EXPORT quernTargets NAMESPACE quern:: FILE quernConfig.cmake COMPONENT sdk
        DESTINATION "${CMAKE_INSTALL_LIBDIR}/cmake/quern")
write_basic_package_version_file("${CMAKE_BINARY_DIR}/quernConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
configure_file(cmake/quern.pc.in "${CMAKE_BINARY_DIR}/quern.pc" @ONLY)
install(FILES "${CMAKE_BINARY_DIR}/quernConfigVersion.cmake" COMPONENT sdk
        DESTINATION "${CMAKE_INSTALL_LIBDIR}/cmake/quern")
install(FILES "${CMAKE_BINARY_DIR}/quern.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT sdk)
