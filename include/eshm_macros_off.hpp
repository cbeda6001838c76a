// SPDX-License-Identifier: MIT
// Sets aside the macros of other headers that have the name of something in eshm.hpp:
// Status (Xlib), read, write and close (lwIP), move and timeout (curses), length (R) and
// the like. eshm_macros_on.hpp brings them back. Included by eshm.hpp and its parts alone,
// any number of times.
#pragma push_macro("Status")
#undef Status
#pragma push_macro("close")
#undef close
#pragma push_macro("index")
#undef index
#pragma push_macro("length")
#undef length
#pragma push_macro("move")
#undef move
#pragma push_macro("open")
#undef open
#pragma push_macro("read")
#undef read
#pragma push_macro("timeout")
#undef timeout
#pragma push_macro("write")
#undef write
