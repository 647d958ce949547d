#pragma once
// The API as machines read it.

#include <string>
#include <string_view>

#include "catalog/catalog.h"

namespace quern::api {

/// An OpenAPI 3.1 document as JSON: every route of the table, and of each model its create with its
/// own input and examples. Its server is `public_url`, or where the document came from if that is empty.
std::string openapi_document(const Catalog& catalog, std::string_view public_url = {});

}  // namespace quern::api
