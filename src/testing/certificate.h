#pragma once
// A certificate made on the spot, for servers behind TLS.

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "http/server.h"

namespace quern {

/// Writes a new key and a certificate that it has signed itself.
inline void write_certificate(const http::TlsFiles& files) {
  const std::unique_ptr<EVP_PKEY, decltype(&::EVP_PKEY_free)> key(
      ::EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"), &::EVP_PKEY_free);
  const std::unique_ptr<X509, decltype(&::X509_free)> cert(::X509_new(), &::X509_free);
  ::ASN1_INTEGER_set(::X509_get_serialNumber(cert.get()), 1);
  ::X509_gmtime_adj(::X509_getm_notBefore(cert.get()), 0);
  ::X509_gmtime_adj(::X509_getm_notAfter(cert.get()), 3'600);
  ::X509_set_pubkey(cert.get(), key.get());
  ::X509_sign(cert.get(), key.get(), ::EVP_sha256());
  std::FILE* key_file = std::fopen(files.key.c_str(), "w");
  ::PEM_write_PrivateKey(key_file, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(key_file);
  std::FILE* cert_file = std::fopen(files.cert.c_str(), "w");
  ::PEM_write_X509(cert_file, cert.get());
  std::fclose(cert_file);
}

/// Writes a new key that nobody can read without its password.
inline void write_encrypted_key(const std::filesystem::path& path) {
  const std::unique_ptr<EVP_PKEY, decltype(&::EVP_PKEY_free)> key(
      ::EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"), &::EVP_PKEY_free);
  std::string password = "secret";
  std::FILE* file = std::fopen(path.c_str(), "w");
  ::PEM_write_PrivateKey(file, key.get(), ::EVP_aes_256_cbc(), nullptr, 0, nullptr,
                         password.data());
  std::fclose(file);
}

}  // namespace quern
