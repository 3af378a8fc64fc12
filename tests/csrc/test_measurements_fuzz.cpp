// Are the files of each format read for what they hold, and damages named with their place?
#include "catch2.h"
