// Package peer lets the replicas of the operator tell each other which proxies run what, so that one of them can write
// the whole truth. Each replica offers its own rows on a stream; a Table follows the other replicas and merges.
//
// A peer that exists but cannot be reached makes the proxies it last spoke of unknown: they are never counted as acknowledged.
// A peer that does not exist any more is forgotten with all its rows, because its proxies connect to somebody else.
//
// Both sides authenticate by certificates of the operator's own authority; transport credentials are the caller's.
package peer
