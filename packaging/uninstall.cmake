# SPDX-License-Identifier: MIT
# Removes what the last `cmake --install` of this build folder has installed, under
# DESTDIR if that is set, as it was then.
if(NOT EXISTS "${MANIFEST}")
  message(FATAL_ERROR "Nothing is known to be installed: there is no ${MANIFEST}")
endif()
file(STRINGS "${MANIFEST}" files)
foreach(file ${files})
  set(file "$ENV{DESTDIR}${file}")
  if(EXISTS "${file}" OR IS_SYMLINK "${file}")
    message(STATUS "Removing ${file}")
    file(REMOVE "${file}")
  endif()
endforeach()
