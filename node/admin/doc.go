// Package admin is the operator API of a node: what partctl, a health probe
// and a metrics scraper talk to, on a listener of its own.
//
// It keeps three things true. Nothing here answers without the bearer token if
// one is configured, except /livez and /readyz, which say no more than yes or
// why not. "Not found" is a fact about the cluster (404) and "cannot know" an
// admission (503), never one for the other. And an answer reports what was
// seen, not what was hoped: an inspected chunk is ok only after every block of
// it was read and verified.
//
// The node implements Service; NewHandler serves it as JSON over HTTP; Client
// calls it. The types in api.go are both ends of the wire: they may gain
// fields within /v1, and lose none.
//
//	GET    /v1/status                                  Status
//	GET    /v1/nodes                                   NodeList
//	GET    /v1/uploads?bucket=&prefix=&limit=&after_key=&after_id=   UploadList
//	GET    /v1/upload?bucket=&key=&id=                 UploadDetail
//	DELETE /v1/upload?bucket=&key=&id=                 204
//	GET    /v1/object?bucket=&key=                     ObjectReport
//	GET    /v1/gc                                      GarbageStatus
//	POST   /v1/gc/run                                  GarbageSwept
//	POST   /v1/scrub/run?store=                        204
//	GET    /v1/registry/capacity                       RegistryCapacity
//	GET    /v1/registry/backup                         a backup (metadata/backup.go)
//	GET    /livez                                      200 while the process answers
//	GET    /readyz                                     200, or 503 with the reason
//	GET    /metrics                                    Prometheus text
//
// An error is {"code": …, "message": …}; errors.go has the codes.
package admin
