#include "core/kept_flips.h"
