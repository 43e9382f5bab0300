// Package picture changes pictures as the image processing of QingStor does:
// Parse reads the action of a request, Process does it to the bytes of a
// picture.
//
// What it keeps true:
//
//   - Nothing is decoded before its header has said how large it is, and the
//     whole action has been found to keep within Limits. So memory does not
//     depend on what a file claims or unpacks to.
//   - An action is done as a whole or refused. What is not understood in it is
//     an error, never left out.
//   - A context that ends stops the work at the next row, or the next bytes of
//     a decoder or encoder.
//
// It knows nothing of objects, rights or HTTP. What operations there are and
// what their parameters mean is from the pages "image_process" of the public
// QingStor documentation; where those leave something open, the function that
// decides says so.
package picture
