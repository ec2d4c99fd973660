/* A stand-in for NVIDIA's driver: the functions that are asked of it, for one device that is not
 * there. STAND_IN_FAULT is what its start ends with. Compiled by the tests of `harness doctor`. */

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static int current = 0;

int cuInit(unsigned flags) {
  const char *fault = getenv("STAND_IN_FAULT");
  return flags != 0 ? 1 : fault ? atoi(fault) : 0;
}

int cuDriverGetVersion(int *version) {
  *version = 12040;
  return 0;
}

int cuDeviceGetCount(int *count) {
  *count = 1;
  return 0;
}

int cuDeviceGet(int *device, int ordinal) {
  *device = 70 + ordinal;
  return ordinal == 0 ? 0 : 101;
}

int cuDeviceGetName(char *name, int bytes, int device) {
  strncpy(name, device == 70 ? "Stand-in 9000" : "another", bytes);
  return 0;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
  *value = device != 70 ? -1 : attribute == 75 ? 9 : attribute == 76 ? 1 : -1;
  return 0;
}

int cuDevicePrimaryCtxRetain(void **context, int device) {
  *context = &current;
  return device == 70 ? 0 : 101;
}

int cuDevicePrimaryCtxRelease_v2(int device) { return device == 70 ? 0 : 101; }

int cuCtxPushCurrent_v2(void *context) {
  current += context == &current;
  return 0;
}

int cuCtxPopCurrent_v2(void **context) {
  *context = &current;
  current -= 1;
  return 0;
}

/* Without a current context there is no memory, as with the real one. */
int cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes) {
  *free_bytes = (size_t)70 << 30;
  *total_bytes = (size_t)80 << 30;
  return current == 1 ? 0 : 201;
}

int cuGetErrorName(int code, const char **text) {
  *text = code == 802 ? "CUDA_ERROR_SYSTEM_NOT_READY" : NULL;
  return *text ? 0 : 1;
}

int cuGetErrorString(int code, const char **text) {
  *text = code == 802 ? "system not yet initialized" : NULL;
  return *text ? 0 : 1;
}
