// Package xds holds package xds's server against real Envoys, the newest and the oldest that are supported, under steady load: whatever
// changes, no request may be lost, and no cluster may wait for something that never comes. The package has tests only.
package xds
