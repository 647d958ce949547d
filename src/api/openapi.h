#pragma once
// The API as machines read it.

#include <string>

#include "catalog/catalog.h"

namespace quern::api {

/// An OpenAPI 3.1 document as JSON: every route of the table, and of each model its create with its
/// own input and examples.
std::string openapi_document(const Catalog& catalog);

}  // namespace quern::api
