// SPDX-License-Identifier: MIT
// Brings back what eshm_macros_off.hpp set aside.
#pragma pop_macro("Status")
#pragma pop_macro("close")
#pragma pop_macro("index")
#pragma pop_macro("length")
#pragma pop_macro("move")
#pragma pop_macro("open")
#pragma pop_macro("read")
#pragma pop_macro("timeout")
#pragma pop_macro("write")
