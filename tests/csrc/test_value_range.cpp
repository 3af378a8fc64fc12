#include "core/value_range.h"
