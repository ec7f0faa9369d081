# The packages rq-server (deb with its debug symbols, rpm), from the one list of install() rules:
# packaging/build-packages makes them. docs/decisions/0013 says why so.
set(RQ_PACKAGE_VERSION "" CACHE STRING "Version of the packages; empty: the programs'")
if(RQ_PACKAGE_VERSION)
  set(package_version ${RQ_PACKAGE_VERSION})
else()
  set(package_version ${PROJECT_VERSION})
endif()
set(RQ_READERS_SINCE 0.1.0 CACHE STRING "Oldest version that reads what this one writes to disk and says between nodes")

install(TARGETS rq-consensus rq-store rq-gateway rqd RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR})

file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/packaging)
if(NOT DEFINED ENV{SOURCE_DATE_EPOCH})
  set(package_date "Thu, 01 Jan 2026 00:00:00 +0000")
else()
  string(TIMESTAMP package_date "%a, %d %b %Y %H:%M:%S +0000" UTC)
endif()
configure_file(${CMAKE_SOURCE_DIR}/packaging/doc/changelog.Debian.in ${CMAKE_BINARY_DIR}/packaging/changelog.Debian @ONLY)
execute_process(COMMAND gzip -9nc ${CMAKE_BINARY_DIR}/packaging/changelog.Debian
                OUTPUT_FILE ${CMAKE_BINARY_DIR}/packaging/changelog.Debian.gz COMMAND_ERROR_IS_FATAL ANY)
install(FILES ${CMAKE_SOURCE_DIR}/packaging/doc/copyright ${CMAKE_BINARY_DIR}/packaging/changelog.Debian.gz
        DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/rq-server)
install(FILES ${CMAKE_SOURCE_DIR}/packaging/deb/lintian-overrides
        DESTINATION ${CMAKE_INSTALL_DATADIR}/lintian/overrides RENAME rq-server)

# Scripts know the version and since when the formats are readable.
foreach(script deb/preinst deb/postinst deb/prerm deb/postrm deb/conffiles rpm/pre.sh rpm/post.sh rpm/preun.sh rpm/postun.sh)
  configure_file(${CMAKE_SOURCE_DIR}/packaging/${script} ${CMAKE_BINARY_DIR}/packaging/${script} @ONLY)
endforeach()

set(CPACK_PACKAGE_NAME rq-server)
set(CPACK_PACKAGE_VERSION ${package_version})
set(CPACK_PACKAGE_VENDOR "rq project")
set(CPACK_PACKAGE_CONTACT "rq maintainers <rq@example.org>")
set(CPACK_PACKAGE_HOMEPAGE_URL "${PROJECT_HOMEPAGE_URL}")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "replicated SQLite database over HTTP")
set(CPACK_PACKAGE_DESCRIPTION
    "rq is a relational database that survives the loss of machines: SQLite's full\nSQL, replicated with Raft, offered over HTTP with rqlite's API. A node is three\nservices under systemd, each with its own user and sandbox.")
set(CPACK_STRIP_FILES OFF) # the deb generator splits the symbols off; PackProject.cmake strips the rpm's
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_SET_DESTDIR ON)  # so that /etc/rq, which is not below the prefix, is in the packages
set(CPACK_PROJECT_CONFIG_FILE ${CMAKE_SOURCE_DIR}/packaging/PackProject.cmake)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_SOURCE_DIR}/packaging/set_times.cmake)
set(CPACK_THREADS 1)       # of the compressors: the same bytes on any machine

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SECTION database)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "systemd | systemd-standalone-sysusers, libsqlite3-0 (>= 3.40)")
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
    ${CMAKE_BINARY_DIR}/packaging/deb/preinst ${CMAKE_BINARY_DIR}/packaging/deb/postinst
    ${CMAKE_BINARY_DIR}/packaging/deb/prerm ${CMAKE_BINARY_DIR}/packaging/deb/postrm ${CMAKE_BINARY_DIR}/packaging/deb/conffiles)
set(CPACK_DEBIAN_DEBUGINFO_PACKAGE ON)

set(CPACK_RPM_FILE_NAME RPM-DEFAULT)
set(CPACK_RPM_PACKAGE_RELEASE 1)
set(CPACK_RPM_PACKAGE_SUMMARY "Replicated SQLite database over HTTP")
set(CPACK_RPM_PACKAGE_DESCRIPTION "${CPACK_PACKAGE_DESCRIPTION}")
set(CPACK_RPM_PACKAGE_RELOCATABLE OFF)
set(CPACK_RPM_PACKAGE_LICENSE "LicenseRef-rq")
set(CPACK_RPM_PACKAGE_GROUP Applications/Databases)
set(CPACK_RPM_PACKAGE_REQUIRES "systemd")
set(CPACK_RPM_COMPRESSION_TYPE zstd)
set(CPACK_RPM_SPEC_MORE_DEFINE "%define _build_id_links none\n%define use_source_date_epoch_as_buildtime 1\n%define clamp_mtime_to_source_date_epoch 1\n%define _buildhost reproducible\n%define source_date_epoch_from_changelog 0\n%global __brp_mangle_shebangs %{nil}")
set(CPACK_RPM_PRE_INSTALL_SCRIPT_FILE ${CMAKE_BINARY_DIR}/packaging/rpm/pre.sh)
set(CPACK_RPM_POST_INSTALL_SCRIPT_FILE ${CMAKE_BINARY_DIR}/packaging/rpm/post.sh)
set(CPACK_RPM_PRE_UNINSTALL_SCRIPT_FILE ${CMAKE_BINARY_DIR}/packaging/rpm/preun.sh)
set(CPACK_RPM_POST_UNINSTALL_SCRIPT_FILE ${CMAKE_BINARY_DIR}/packaging/rpm/postun.sh)
set(CPACK_RPM_USER_FILELIST "%config(noreplace) /etc/rq/rq.conf")
# Folders that belong to the distribution.
set(CPACK_RPM_EXCLUDE_FROM_AUTO_FILELIST_ADDITION
    /etc /usr/sbin /usr/share /usr/share/man /usr/share/man/man1 /usr/share/man/man5 /usr/share/man/man7 /usr/share/man/man8
    /usr/share/doc /usr/share/lintian /usr/share/lintian/overrides /usr/share/bash-completion /usr/share/bash-completion/completions
    /usr/share/zsh /usr/share/zsh/vendor-completions /usr/lib/systemd /usr/lib/systemd/system /usr/lib/systemd/system-preset
    /usr/lib/systemd/catalog /usr/lib/sysusers.d /usr/lib/tmpfiles.d)
include(CPack)
