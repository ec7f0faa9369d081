# Read by cpack for each generator: that of rpm splits no symbols off.
if(CPACK_GENERATOR STREQUAL "RPM")
  set(CPACK_STRIP_FILES ON)
endif()
