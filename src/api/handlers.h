#pragma once
// The handlers that the route table names, by the file that holds them.

#include "api/routes.h"

namespace quern::api {

// create.cc
void create_task(CallPtr call);

// task_calls.cc
void get_status(CallPtr call);
void get_result(CallPtr call);
void cancel_task(CallPtr call);
void refuse_stream(CallPtr call);

// event_stream.cc
void stream_status(CallPtr call);

// fal_proxy.cc
void serve_proxied(CallPtr call);

// uploads.cc
void post_file(CallPtr call);
void initiate_upload(CallPtr call);
void initiate_parts(CallPtr call);
void put_upload(CallPtr call);
void put_upload_part(CallPtr call);
void complete_upload(CallPtr call);

// files.cc
void get_file(CallPtr call);

// models_api.cc
void list_models(CallPtr call);
void get_model(CallPtr call);

// openapi.cc, docs_page.cc
void get_openapi(CallPtr call);
void get_docs(CallPtr call);

// health.cc
void get_health(CallPtr call);
void get_ready(CallPtr call);
void get_metrics(CallPtr call);

// admin_api.cc
void admin_list(CallPtr call);
void admin_get(CallPtr call);
void admin_retry(CallPtr call);
void admin_cancel(CallPtr call);
void admin_purge(CallPtr call);
void admin_pause(CallPtr call);
void admin_resume(CallPtr call);

}  // namespace quern::api
