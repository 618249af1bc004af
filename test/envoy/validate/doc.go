// Package validate holds package validate's judgement of access log formats and regular expressions against real Envoys, the
// newest and the oldest that are supported: what passes the one must not be refused by the other, because a single
// refused string costs a whole listener or route table. The package has tests only.
package validate
