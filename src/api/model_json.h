#pragma once
// A model as machines read it: in GET /v1/models and in the OpenAPI document.

#include "base/json.h"
#include "catalog/model.h"

namespace quern::api {

/// {"id","object":"model","title","description","modality","schema","examples","aliases"}; what is
/// not known is left out, but `schema` is always there: a model without one takes any object.
json::object model_json(const Model& model);
/// The schema, or {"type":"object"}.
json::object schema_json(const Model& model);

}  // namespace quern::api
