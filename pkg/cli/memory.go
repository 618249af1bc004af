package cli

import (
	"math"
	"runtime/debug"
	"strconv"
)

// memoryShare is which part of the container's limit the Go runtime may use before it collects garbage in earnest. The rest is for what it
// does not count, and for what a burst takes before a collection has ended.
const memoryShare = 0.8

// limitMemory keeps the heap below the container's limit, which the manifest gives in bytes as MEMORY_LIMIT. Who sets GOMEMLIMIT has
// decided already. It returns the limit that is in force.
func limitMemory(getenv func(string) string) int64 {
	const unchanged = -1
	if getenv("GOMEMLIMIT") != "" {
		return debug.SetMemoryLimit(unchanged)
	}
	n, err := strconv.ParseInt(getenv("MEMORY_LIMIT"), 10, 64)
	if err != nil || n <= 0 {
		return math.MaxInt64
	}
	debug.SetMemoryLimit(int64(float64(n) * memoryShare))
	return debug.SetMemoryLimit(unchanged)
}
