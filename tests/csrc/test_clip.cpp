#include "core/clip.h"
