// SPDX-License-Identifier: MIT
/* Macros that other headers define although their names are common words. */
/* X11/Xlib.h, X11/X.h */
#define Status int
#define Bool int
#define True 1
#define False 0
#define None 0L
#define Success 0
#define Always 2
/* curses.h */
#define move(y, x) wmove(stdscr, (y), (x))
#define timeout(delay) wtimeout(stdscr, (delay))
#define clear() wclear(stdscr)
#define erase() werase(stdscr)
#define OK 0
#define ERR (-1)
/* lwip/sockets.h */
#define read(s, mem, len) lwip_read(s, mem, len)
#define write(s, data, len) lwip_write(s, data, len)
#define close(s) lwip_close(s)
/* X11/Xw32defs.h, X11/Xos.h, R's Rinternals.h */
#define open _open
#define index strchr
#define length Rf_length
/* windows.h, Qt, Arduino */
#define min(a, b) (((a) < (b)) ? (a) : (b))
#define max(a, b) (((a) > (b)) ? (a) : (b))
#define abs(x) ((x) > 0 ? (x) : -(x))
#define ERROR 0
#define DELETE 0x00010000L
#define interface struct
#define small char
#define far
#define near
#define IN
#define OUT
#define signals public
#define slots
#define emit
#define foreach Q_FOREACH
#define forever for (;;)
