// Package validate judges objects of appmesh.k8s.aws by themselves: unions, dependencies between fields, values that the
// schema cannot express, and changes that are not allowed. The webhooks, the offline check and compile call the same
// function, so a mistake has the same words everywhere.
//
// Object returns Findings. Each belongs to a rule of the api package's table, which says whether the object is denied, only
// warned about, or stored with a condition. A Finding names the field, the value and what would be right. The first words of
// many messages are App Mesh's; scripts look for them.
//
// Given the old object too, Object reports only what the change brought: a rule that the old object broke with the same value
// stays silent, so that an object stored under other rules can still be edited. Changes of immutable fields are always
// reported.
//
// No rule here looks at another object; the order in which manifests are applied never matters. The package is pure: it reads
// nothing, keeps nothing and does not modify its arguments. It imports api and apimachinery only. Start reading at
// validate.go; there is one file per kind, and match.go, reference.go and tls.go for what several kinds share.
package validate
