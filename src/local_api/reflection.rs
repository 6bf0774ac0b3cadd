//! Says to a client that has no .proto files what the socket has: gRPC's reflection over the descriptors that the program
//! carries anyway.
//!
//! Answers one question after the other. Deliberately absent: the contract with the controller as a service, which is not
//! served here.

use std::sync::LazyLock;

use bytes::Bytes;
use futures_util::StreamExt as _;
use prost::Message as _;
use prost_reflect::{DescriptorPool, ExtensionDescriptor, FileDescriptor};
use tonic::{Code, Request, Response, Status, Streaming, codegen::BoxStream};

use super::gate::Gate;
use crate::{
    schema::{
        DESCRIPTORS, descriptors,
        local::EventList,
        reflection::{
            ErrorResponse, ExtensionNumberResponse, ExtensionRequest, FileDescriptorResponse, ListServiceResponse,
            ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
            server_reflection_request::MessageRequest as Asked,
            server_reflection_response::MessageResponse as Answer,
            server_reflection_server::{ServerReflection, ServerReflectionServer},
        },
    },
    visible::visible,
};

/// What the socket serves of what is described.
const SERVICES: [&str; 3] =
    ["rodent.local.LocalService", "grpc.reflection.v1.ServerReflection", "grpc.health.v1.Health"];

/// What the library that serves the health service says of it.
static HEALTH: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(tonic_health::pb::FILE_DESCRIPTOR_SET).expect("the library has packed them")
});

/// The longest question, bytes.
const QUESTION_BYTES_MAX: usize = 4 * 1024;

/// The reflection service behind the gate.
pub(super) struct Described {
    gate: Gate,
}

impl Described {
    pub(super) fn new(gate: Gate) -> ServerReflectionServer<Described> {
        ServerReflectionServer::new(Described { gate }).max_decoding_message_size(QUESTION_BYTES_MAX)
    }
}

#[tonic::async_trait]
impl ServerReflection for Described {
    type ServerReflectionInfoStream = BoxStream<ServerReflectionResponse>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        self.gate.admit(&request).await?;
        Ok(Response::new(Box::pin(request.into_inner().map(|question| question.map(answer)))))
    }
}

fn answer(question: ServerReflectionRequest) -> ServerReflectionResponse {
    let answer = match &question.message_request {
        Some(Asked::ListServices(_)) => {
            let service = SERVICES.map(|name| ServiceResponse { name: name.to_owned() }).into();
            Ok(Answer::ListServicesResponse(ListServiceResponse { service }))
        }
        Some(Asked::FileByFilename(name)) => file(pools().find_map(|pool| pool.get_file_by_name(name)), name),
        Some(Asked::FileContainingSymbol(name)) => file(pools().find_map(|pool| file_of(pool, name)), name),
        Some(Asked::FileContainingExtension(ExtensionRequest { containing_type, extension_number })) => {
            let mut extensions = extensions(containing_type);
            let found = extensions.find(|extension| i32::try_from(extension.number()) == Ok(*extension_number));
            file(found.map(|extension| extension.parent_file()), containing_type)
        }
        Some(Asked::AllExtensionNumbersOfType(name)) => {
            let numbers = extensions(name).filter_map(|extension| i32::try_from(extension.number()).ok());
            Ok(Answer::AllExtensionNumbersResponse(ExtensionNumberResponse {
                base_type_name: name.clone(),
                extension_number: numbers.collect(),
            }))
        }
        None => Err((Code::InvalidArgument, "a question asks nothing that this agent knows".to_owned())),
    };
    let answer = answer.unwrap_or_else(|(code, error_message)| {
        Answer::ErrorResponse(ErrorResponse { error_code: code as i32, error_message })
    });
    ServerReflectionResponse {
        valid_host: question.host.clone(),
        original_request: Some(question),
        message_response: Some(answer),
    }
}

/// All that is described, in two sets.
fn pools() -> impl Iterator<Item = &'static DescriptorPool> {
    [&*DESCRIPTORS, &*HEALTH].into_iter()
}

/// The extensions of a message.
fn extensions(message: &str) -> impl Iterator<Item = ExtensionDescriptor> + '_ {
    DESCRIPTORS.all_extensions().filter(move |extension| extension.containing_message().full_name() == message)
}

/// The file that describes something, also what is a part of something: a method of its service, a field of its message.
fn file_of(pool: &DescriptorPool, name: &str) -> Option<FileDescriptor> {
    let whole = |name: &str| {
        let message = || pool.get_message_by_name(name).map(|its| its.parent_file());
        let service = || pool.get_service_by_name(name).map(|its| its.parent_file());
        let enumeration = || pool.get_enum_by_name(name).map(|its| its.parent_file());
        let extension = || pool.get_extension_by_name(name).map(|its| its.parent_file());
        message().or_else(service).or_else(enumeration).or_else(extension)
    };
    whole(name).or_else(|| whole(name.rsplit_once('.')?.0))
}

/// A file as it was compiled.
fn file(found: Option<FileDescriptor>, asked: &str) -> Result<Answer, (Code, String)> {
    let file = found.and_then(|found| {
        let is_health = *found.parent_pool() == *HEALTH;
        let bytes =
            if is_health { Bytes::from_static(tonic_health::pb::FILE_DESCRIPTOR_SET) } else { descriptors().into() };
        let place = found.parent_pool().files().position(|file| file == found)?;
        // A set of files has the form of a list of events; what is not kept need not be held for ever.
        EventList::decode(bytes).ok()?.events.get(place).cloned()
    });
    let file = file.ok_or_else(|| (Code::NotFound, format!("nothing here is called `{}`", visible(asked))))?;
    Ok(Answer::FileDescriptorResponse(FileDescriptorResponse { file_descriptor_proto: vec![file] }))
}

#[cfg(test)]
mod tests {
    use prost_reflect::prost_types::FileDescriptorProto;

    use super::*;

    fn ask(asked: Asked) -> Answer {
        let question = ServerReflectionRequest { host: String::new(), message_request: Some(asked) };
        answer(question).message_response.expect("an answer")
    }

    fn name_of(answer: Answer) -> String {
        let Answer::FileDescriptorResponse(files) = answer else { panic!("{answer:?}") };
        let file = FileDescriptorProto::decode(files.file_descriptor_proto[0].clone()).expect("a file");
        file.name().to_owned()
    }

    #[test]
    fn each_file_is_given_by_its_name_and_each_symbol_has_its_file() {
        for file in pools().flat_map(DescriptorPool::files) {
            assert_eq!(name_of(ask(Asked::FileByFilename(file.name().to_owned()))), file.name());
        }
        for (symbol, file) in [
            ("rodent.local.LocalService", "proto/local.proto"),
            ("rodent.local.LocalService.Consume", "proto/local.proto"),
            ("rodent.local.Attach.Encoding", "proto/local.proto"),
            ("rodent.events.Event", "proto/events/event_messages.proto"),
            ("rodent.events.Event.event_id", "proto/events/event_messages.proto"),
            ("grpc.reflection.v1.ServerReflection", "proto/reflection.proto"),
            ("grpc.health.v1.Health", "health.proto"),
            ("grpc.health.v1.HealthCheckResponse", "health.proto"),
        ] {
            assert_eq!(name_of(ask(Asked::FileContainingSymbol(symbol.to_owned()))), file, "{symbol}");
        }
        let Answer::ErrorResponse(error) = ask(Asked::FileContainingSymbol("rodent.Nothing".to_owned())) else {
            panic!("it is not there")
        };
        assert_eq!(error.error_code, Code::NotFound as i32);
    }

    #[test]
    fn extensions_are_found_by_what_they_extend() {
        let options = "google.protobuf.EnumValueOptions".to_owned();
        let Answer::AllExtensionNumbersResponse(all) = ask(Asked::AllExtensionNumbersOfType(options.clone())) else {
            panic!("numbers")
        };
        let [extension_number, ..] = all.extension_number[..] else { panic!("there are some") };
        let extension = ExtensionRequest { containing_type: options, extension_number };
        assert_eq!(name_of(ask(Asked::FileContainingExtension(extension))), "proto/meaning.proto");
    }
}
