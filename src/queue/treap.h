#pragma once
// A balanced search tree (treap) whose links live in the elements themselves.
//
// `Nodes` tells how to reach them:
//   PoolIndex& left(i), right(i)
//   bool before(a, b)            the order, total
//   std::uint32_t height(i)      a fixed pseudorandom number: higher ones are nearer to the root
//   void gain(i, x), lose(i, x)  x comes into, or leaves, the subtree under i
//   void pull(i)                 sums i's subtree up again from its children
// Cost: O(log n) expected.

#include <utility>

#include "queue/chunked_array.h"

namespace quern {

/// Spreads 64 bits to 32, for Nodes::height.
constexpr std::uint32_t treap_height(std::uint64_t bits) {
  bits = (bits ^ (bits >> 32U)) * 0xd6e8feb86659fd93ULL;
  return static_cast<std::uint32_t>(bits >> 32U);
}

template <typename Nodes>
class Treap {
 public:
  explicit Treap(Nodes nodes) : nodes_(nodes) {}

  void insert(PoolIndex& root, PoolIndex x) {
    PoolIndex* at = &root;
    const std::uint32_t height = nodes_.height(x);
    while (*at != kNoIndex && nodes_.height(*at) >= height) {
      nodes_.gain(*at, x);
      at = &side(*at, x);
    }
    const auto [left, right] = split(*at, x);
    nodes_.left(x) = left;
    nodes_.right(x) = right;
    nodes_.pull(x);
    *at = x;
  }

  /// `x` must be in the tree.
  void erase(PoolIndex& root, PoolIndex x) {
    PoolIndex* at = &root;
    while (*at != x) {
      nodes_.lose(*at, x);
      at = &side(*at, x);
    }
    *at = merge(nodes_.left(x), nodes_.right(x));
  }

  /// The first element, and the last one, or kNoIndex.
  [[nodiscard]] PoolIndex first(PoolIndex root) {
    if (root == kNoIndex) return kNoIndex;
    while (nodes_.left(root) != kNoIndex) root = nodes_.left(root);
    return root;
  }
  [[nodiscard]] PoolIndex last(PoolIndex root) {
    if (root == kNoIndex) return kNoIndex;
    while (nodes_.right(root) != kNoIndex) root = nodes_.right(root);
    return root;
  }

 private:
  PoolIndex& side(PoolIndex at, PoolIndex x) {
    return nodes_.before(x, at) ? nodes_.left(at) : nodes_.right(at);
  }

  /// Two trees: of what comes before x, and of what comes after.
  std::pair<PoolIndex, PoolIndex> split(PoolIndex root, PoolIndex x) {
    if (root == kNoIndex) return {kNoIndex, kNoIndex};
    if (nodes_.before(root, x)) {
      const auto [middle, right] = split(nodes_.right(root), x);
      nodes_.right(root) = middle;
      nodes_.pull(root);
      return {root, right};
    }
    const auto [left, middle] = split(nodes_.left(root), x);
    nodes_.left(root) = middle;
    nodes_.pull(root);
    return {left, root};
  }

  /// One tree of two, the first of which comes wholly before the second.
  PoolIndex merge(PoolIndex a, PoolIndex b) {
    if (a == kNoIndex) return b;
    if (b == kNoIndex) return a;
    if (nodes_.height(a) >= nodes_.height(b)) {
      nodes_.right(a) = merge(nodes_.right(a), b);
      nodes_.pull(a);
      return a;
    }
    nodes_.left(b) = merge(a, nodes_.left(b));
    nodes_.pull(b);
    return b;
  }

  Nodes nodes_;
};

}  // namespace quern
