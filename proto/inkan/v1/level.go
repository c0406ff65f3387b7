package inkanpb

// APILevel is that of this contract: see GetVersionResponse. Each release that
// adds a method, or a field to a request, adds one.
//
// 1: the first release.
const APILevel = 1
