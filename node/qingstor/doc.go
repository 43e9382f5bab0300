// Package qingstor speaks the QingStor HTTP dialect: it turns requests into
// calls of the registry and of Data, and their answers into exact status
// codes, headers and JSON.
//
// What it keeps true:
//
//   - The request target is taken as the bytes on the wire. Nothing is cleaned,
//     redirected or decoded twice; a key comes back exactly as it was given.
//   - A request is answered by the operation its method and sub-resources name,
//     or refused. It never falls through to another operation: an unknown
//     sub-resource or a header for something not built is an error, not a plain
//     PUT or DELETE.
//   - The order of checks is fixed: parse, authenticate, bucket exists,
//     authorise, validate parameters, act. No body byte is read before "act",
//     so a client that sent "Expect: 100-continue" learns of a refusal first.
//   - Not found is a claim and unavailable an admission: 404 only when the
//     registry says so, 503 when it could not find out.
//   - An object's status line is sent with its first stripe in hand. What fails
//     later resets the connection; a short body never ends cleanly.
//
// routes.go is the list of operations, errors.go the list of refusals, and
// docs/compatibility.md says what is supported. The package keeps no state
// between requests.
package qingstor
