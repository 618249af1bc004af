// Package bootstrap starts the real Envoy with the bootstrap that the injector writes and looks at what it does: whether
// every variant is accepted by the newest and the oldest supported Envoy, which token it sends when, and who may do what
// at its admin port.
//
// The binary is named by the environment variable ENVOY, otherwise taken from .cache/envoy/<version>/envoy of the
// repository; the oldest one by ENVOY_OLDEST. Start with envoy_test.go.
package bootstrap
