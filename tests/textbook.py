"""The textbook's formulas as checks, and its known misprints as checks marked refuted, section by section."""

from textbook_nets import NETS

GENERAL = """model BM(D = 3, P = 2)                   # Salakhutdinov and Hinton (2009), section 2
visible v : binary[D] bias b
hidden  h : binary[P] bias a
v -- v : L
h -- h : J
v -- h : W
check "(1)": energy == -1/2*sum(L[i,k]*v[i]*v[k] for i, k) - 1/2*sum(J[j,m]*h[j]*h[m] for j, m)
  - sum(W[i,j]*v[i]*h[j] for i, j) - sum(b[i]*v[i] for i) - sum(a[j]*h[j] for j)
check "(2)": p(v, h) == exp(-energy)/Z
check "(2), Z": Z == sum(exp(-energy) over v, h)
check "(3)": p(v) == 1/Z*sum(exp(-energy) over h)
check "(4)": p(h[j] = 1 | v, rest) == sigmoid(sum(W[i,j]*v[i] for i) + sum(J[j,m]*h[m] for m if m != j) + a[j])
check "(5)": p(v[i] = 1 | h, rest) == sigmoid(sum(W[i,j]*h[j] for j) + sum(L[i,k]*v[k] for k if k != i) + b[i])
check "free energy, 2^P terms": p(v) == exp(1/2*sum(L[i,k]*v[i]*v[k] for i, k) + sum(b[i]*v[i] for i))
  *sum(exp(1/2*sum(J[j,m]*h[j]*h[m] for j, m) + sum((sum(W[i,j]*v[i] for i) + a[j])*h[j] for j)) over h)/Z
check "free energy without J": free_energy(v) == -1/2*sum(L[i,k]*v[i]*v[k] for i, k) - sum(b[i]*v[i] for i)
  - sum(softplus(a[j] + sum(W[i,j]*v[i] for i)) for j) where J = 0
check "(6), W": gradient(W[i,j]) == data(v[i]*h[j]) - model(v[i]*h[j])
check "(6), L": gradient(L[i,k]) == data(v[i]*v[k]) - model(v[i]*v[k])
check "(6), J": gradient(J[j,m]) == data(h[j]*h[m]) - model(h[j]*h[m])
check "(6), b": gradient(b[i]) == data(v[i]) - model(v[i])
check "(6), a": gradient(a[j]) == data(h[j]) - model(h[j])
check "(8)": mean_field(h[j]) == sigmoid(sum(W[i,j]*v[i] for i) + sum(J[j,m]*h[m] for m if m != j) + a[j])
check "special case": p(h[j] = 1 | v) == sigmoid(sum(W[i,j]*v[i] for i) + a[j]) where J = 0, L = 0
check "a derivative by the shared entry": d(energy, L[i,k]) == -v[i]*v[k]
check "E-14, (4)" refuted: p(h[j] = 1 | v, rest) == sigmoid(sum(W[i,j]*v[i] for i) + h[j]*sum(J[j,m] for m) + a[j])
check "half the gradient" refuted: gradient(L[i,k]) == data(v[i]*v[k])/2 - model(v[i]*v[k])/2
check "a diagonal" refuted: energy == -1/2*sum(L[i,k]*v[i]*v[k] for i, k if i < k) - 1/2*sum(J[j,m]*h[j]*h[m] for j, m)
  - sum(W[i,j]*v[i]*h[j] for i, j) - sum(b[i]*v[i] for i) - sum(a[j]*h[j] for j)
check "each pair once": energy == -sum(L[i,k]*v[i]*v[k] for i, k if i != k)/2 - sum(J[j,m]*h[j]*h[m] for j, m)/2
  - sum(W[i,j]*v[i]*h[j] for i, j) - sum(b[i]*v[i] for i) - sum(a[j]*h[j] for j)
check "E-14, (5)" refuted: p(v[i] = 1 | h, rest) == sigmoid(sum(W[i,j]*h[j] for j) + v[i]*sum(L[i,k] for k) + b[i])
check "without the factor 2 (Na)" refuted: p(v[i] = 1 | h, rest)
  == sigmoid(sum(W[i,j]*h[j] for j) + 2*sum(L[i,k]*v[k] for k) + b[i])
"""

# The slides' energy without 1/2: each lateral edge stands twice.
NO_HALF = """model NoHalf(D = 3, P = 2)
visible v : binary[D] bias b
hidden  h : binary[P] bias c
v -- v : R
v -- v : R
h -- h : S
h -- h : S
v -- h : W
check "energy": energy == -sum(R[i,k]*v[i]*v[k] for i, k) - sum(W[i,j]*v[i]*h[j] for i, j)
  - sum(S[j,m]*h[j]*h[m] for j, m) - sum(b[i]*v[i] for i) - sum(c[j]*h[j] for j)
check "v": p(v[i] = 1 | h, rest) == sigmoid(b[i] + sum(W[i,j]*h[j] for j) + 2*sum(R[i,k]*v[k] for k))
check "h": p(h[j] = 1 | v, rest) == sigmoid(c[j] + sum(W[i,j]*v[i] for i) + 2*sum(S[j,m]*h[m] for m))
check "gradient": gradient(R[i,k]) == 2*(data(v[i]*v[k]) - model(v[i]*v[k]))
check "as with 1/2" refuted: p(v[i] = 1 | h, rest) == sigmoid(b[i] + sum(W[i,j]*h[j] for j) + sum(R[i,k]*v[k] for k))
"""

# Documents before their words share weights, equation (15).
UNSHARED = """model Unshared(M = 2, K = 3, F = 2)
visible V : softmax[M, K] bias b
hidden  h : binary[F]     bias a
V -- h : W
check "(15)": energy == -sum(W[i,k,j]*h[j]*V[i,k] for i, j, k) - sum(V[i,k]*b[i,k] for i, k) - sum(h[j]*a[j] for j)
check "(16)": p(V) == sum(exp(-energy) over h)/Z
check "h": p(h[j] = 1 | V) == sigmoid(a[j] + sum(V[i,k]*W[i,k,j] for i, k))
check "(19), unshared": p(V[i] = k | h) == exp(b[i,k] + sum(W[i,k,j]*h[j] for j))
  /sum(exp(b[i,q] + sum(W[i,q,j]*h[j] for j)) for q)
check "E-4" refuted: energy
  == -sum(W[i,k,j]*a[j]*V[i,k] for i, j, k) - sum(V[i,k]*b[i,k] for i, k) - sum(h[j]*a[j] for j)
"""

BINARY = """model RBM(D = 3, F = 2)                  # Salakhutdinov (2015), section 2.1
visible v : binary[D] bias b
hidden  h : binary[F] bias a
v -- h : W
check "(1)": energy == -sum(W[i,j]*v[i]*h[j] for i, j) - sum(b[i]*v[i] for i) - sum(a[j]*h[j] for j)
check "(2)": p(v, h) == exp(-energy)/Z
check "(3)": Z == sum(sum(exp(-energy) over h) over v)
check "(5)": p(v) == 1/Z*exp(sum(b[i]*v[i] for i))*prod(1 + exp(a[j] + sum(W[i,j]*v[i] for i)) for j)
check "free energy": free_energy(v) == -sum(b[i]*v[i] for i) - sum(softplus(a[j] + sum(W[i,j]*v[i] for i)) for j)
check "free energy as a sum": free_energy(v) == -log(sum(exp(-energy) over h))
check "its slope": d(free_energy(v), W[i,j]) == -v[i]*sigmoid(a[j] + sum(W[k,j]*v[k] for k))
check "log P(v)": p(v) == exp(-free_energy(v) - log(Z))
check "hidden marginal": p(h) == 1/Z*exp(sum(a[j]*h[j] for j))*prod(1 + exp(b[i] + sum(W[i,j]*h[j] for j)) for i)
check "Z": Z == sum(exp(sum(a[j]*h[j] for j))*prod(1 + exp(b[i] + sum(W[i,j]*h[j] for j)) for i) over h)
check "(6)": p(h | v) == prod(sigmoid((2*h[j] - 1)*(a[j] + sum(W[i,j]*v[i] for i))) for j)
check "(6), v": p(v | h) == prod(sigmoid((2*v[i] - 1)*(b[i] + sum(W[i,j]*h[j] for j))) for i)
check "(7)": p(h[j] = 1 | v) == sigmoid(a[j] + sum(W[i,j]*v[i] for i))
check "(8)": p(v[i] = 1 | h) == sigmoid(b[i] + sum(W[i,j]*h[j] for j))
check "in its own state": p(h[j] | v) == sigmoid((2*h[j] - 1)*(a[j] + sum(W[i,j]*v[i] for i)))
check "(9)": gradient(W[i,j]) == data(v[i]*h[j]) - model(v[i]*h[j])
check "(9), a": gradient(a[j]) == data(h[j]) - model(h[j])
check "(9), b": gradient(b[i]) == data(v[i]) - model(v[i])
check "(6), without a factor" refuted: p(h | v) == prod(sigmoid(h[j]*(a[j] + sum(W[i,j]*v[i] for i))) for j)
check "E-18" refuted: p(v, h) == exp(-energy)*Z
"""

GAUSSIAN = """model Gaussian(D = 2, F = 3)             # Salakhutdinov (2015), section 2.2
visible v : gaussian[D](sigma = learned) bias b
hidden  h : binary[F]                    bias a
v -- h : W
check "(11)": energy == sum((v[i] - b[i])^2/(2*sigma_v[i]^2) for i) - sum(W[i,j]*h[j]*v[i]/sigma_v[i] for i, j)
  - sum(a[j]*h[j] for j)
check "joint": p(v, h) == exp(-energy)/Z
check "(12)": p(v) == sum(exp(-energy) over h)/sum(sum(exp(-energy) over h) over v)
check "free energy": free_energy(v) == sum((v[i] - b[i])^2/(2*sigma_v[i]^2) for i)
  - sum(softplus(a[j] + sum(W[i,j]*v[i]/sigma_v[i] for i)) for j)
check "(13)": p(v[i] | h) == normal(b[i] + sigma_v[i]*sum(W[i,j]*h[j] for j), sigma_v[i])
check "(13), the density": p(v[i] | h) == exp(-(v[i] - b[i] - sigma_v[i]*sum(W[i,j]*h[j] for j))^2/(2*sigma_v[i]^2))
  /(sqrt(2*pi)*sigma_v[i])
check "(14), corrected": p(h[j] = 1 | v) == sigmoid(a[j] + sum(W[i,j]*v[i]/sigma_v[i] for i))
check "Z": Z == prod(sqrt(2*pi)*sigma_v[i] for i)*sum(exp(sum(a[j]*h[j] for j)
  + sum(b[i]*sum(W[i,j]*h[j] for j)/sigma_v[i] + sum(W[i,j]*h[j] for j)^2/2 for i)) over h)
check "gradient, W": gradient(W[i,j]) == data(v[i]*h[j]/sigma_v[i]) - model(v[i]*h[j]/sigma_v[i])
check "gradient, a": gradient(a[j]) == data(h[j]) - model(h[j])
check "gradient, b": gradient(b[i]) == data((v[i] - b[i])/sigma_v[i]^2) - model((v[i] - b[i])/sigma_v[i]^2)
check "gradient, sigma": gradient(sigma_v[i])
  == data((v[i] - b[i])^2/sigma_v[i]^3 - v[i]/sigma_v[i]^2*sum(W[i,j]*h[j] for j))
  - model((v[i] - b[i])^2/sigma_v[i]^3 - v[i]/sigma_v[i]^2*sum(W[i,j]*h[j] for j))
check "E-2" refuted: p(v[i] | h) == normal(b[i] + sigma_v[i]*sum(W[i,j]*a[j] for j), sigma_v[i])
check "E-3, a visible bias" refuted: p(h[j] = 1 | v) == sigmoid(sum(b[i] for i) + sum(W[i,j]*v[i]/sigma_v[i] for i))
check "sigma squared" refuted: p(h[j] = 1 | v) == sigmoid(a[j] + sum(W[i,j]*v[i]/sigma_v[i]^2 for i))
check "gradient, sigma without the coupling" refuted: gradient(sigma_v[i])
  == data((v[i] - b[i])^2/sigma_v[i]^3) - model((v[i] - b[i])^2/sigma_v[i]^3)
"""

DOCUMENTS = """model Documents(K = 3, F = 2)            # Salakhutdinov (2015), section 2.3
visible c : replicated_softmax[K] bias b
hidden  h : binary[F]             bias a
c -- h : W
check "(17)": energy == -sum(W[k,j]*c[k]*h[j] for k, j) - sum(b[k]*c[k] for k) - length(c)*sum(a[j]*h[j] for j)
check "(16)": p(c) == sum(exp(-energy) over h)/Z
check "(18)": p(h[j] = 1 | c) == sigmoid(length(c)*a[j] + sum(c[k]*W[k,j] for k))
check "(19)": p(word(c) = k | h) == exp(b[k] + sum(W[k,j]*h[j] for j))/sum(exp(b[q] + sum(W[q,j]*h[j] for j)) for q)
check "(19), softmax": p(word(c) = k | h) == softmax(b[q] + sum(W[q,j]*h[j] for j) for q at k)
check "expected counts": mean(c[k] | h) == length(c)*softmax(b[q] + sum(W[q,j]*h[j] for j) for q at k)
check "the length is the sum of the counts": p(h[j] = 1 | c) == sigmoid(sum(c[k]*(a[j] + W[k,j]) for k))
check "free energy": free_energy(c) == -sum(b[k]*c[k] for k)
  - sum(softplus(length(c)*a[j] + sum(c[k]*W[k,j] for k)) for j)
check "Z": Z == sum(exp(length(c)*sum(a[j]*h[j] for j))*sum(exp(b[k] + sum(W[k,j]*h[j] for j)) for k)^length(c) over h)
check "ordered": p(c) == exp(-free_energy(c))/Z
check "counts": counts p(c) == factorial(length(c))/prod(factorial(c[k]) for k)*exp(-free_energy(c))/Z
check "gradient, W": gradient(W[k,j]) == data(c[k]*h[j]) - model(c[k]*h[j])
check "gradient, b": gradient(b[k]) == data(c[k]) - model(c[k])
check "gradient, a": gradient(a[j]) == data(length(c)*h[j]) - model(length(c)*h[j])
check "E-4" refuted: energy == -sum(W[k,j]*c[k]*a[j] for k, j) - sum(b[k]*c[k] for k) - length(c)*sum(a[j]*h[j] for j)
check "without the length" refuted: p(h[j] = 1 | c) == sigmoid(a[j] + sum(c[k]*W[k,j] for k))
check "gradient without the length" refuted: gradient(a[j]) == data(h[j]) - model(h[j])
check "the length outside the average" refuted: gradient(a[j])
  == data(length(c))*data(h[j]) - model(length(c))*model(h[j])
check "counts are not the document" refuted: counts p(c) == exp(-free_energy(c))/Z
check "Z with one power" refuted: Z == sum(exp(length(c)*sum(a[j]*h[j] for j))
  *sum(exp(b[k] + sum(W[k,j]*h[j] for j)) for k) over h)
"""

LABELS = """model Labels(C = 3, D = 2, F = 2)        # section 7: a document of one word
visible v : binary[D]  bias b
visible y : softmax[C] bias c
hidden  h : binary[F]  bias a
v -- h : W
y -- h : U
check "label": p(y = k | h) == softmax(c[q] + sum(U[q,j]*h[j] for j) for q at k)
check "label given the input": p(y = k | v)
  == softmax(c[q] + sum(softplus(a[j] + sum(W[i,j]*v[i] for i) + U[q,j]) for j) for q at k)
check "joint": p(v, y) == exp(sum(b[i]*v[i] for i) + sum(c[k]*y[k] for k))
  *prod(1 + exp(a[j] + sum(W[i,j]*v[i] for i) + sum(U[k,j]*y[k] for k)) for j)/Z
check "label without its bias" refuted: p(y = k | h) == softmax(sum(U[q,j]*h[j] for j) for q at k)
"""

# Section 11: the image's layers end in m, the text's in t.
MULTIMODAL = """model Bimodal(D = 2, F1m = 3, F2m = 2, K = 4, F1t = 2, F2t = 3, F3 = 1)
visible vm  : gaussian[D](sigma = learned) bias bm
hidden  h1m : binary[F1m]                  bias a1m
hidden  h2m : binary[F2m]                  bias a2m
visible c   : replicated_softmax[K]        bias bt
hidden  h1t : binary[F1t]                  bias a1t
hidden  h2t : binary[F2t]                  bias a2t
hidden  h3  : binary[F3]                   bias a3
vm  -- h1m : W1m
h1m -- h2m : W2m
c   -- h1t : W1t
h1t -- h2t : W2t
h2m -- h3  : W3m
h2t -- h3  : W3t
check "energy": energy == sum((vm[i] - bm[i])^2/(2*sigma_vm[i]^2) for i)
  - sum(vm[i]/sigma_vm[i]*W1m[i,j]*h1m[j] for i, j) - sum(W2m[j,l]*h1m[j]*h2m[l] for j, l)
  - sum(W1t[k,r]*c[k]*h1t[r] for k, r) - sum(W2t[r,s]*h1t[r]*h2t[s] for r, s)
  - sum(W3m[l,q]*h2m[l]*h3[q] for l, q) - sum(W3t[s,q]*h2t[s]*h3[q] for s, q)
  - sum(bt[k]*c[k] for k) - length(c)*sum(a1t[r]*h1t[r] for r)
  - sum(a1m[j]*h1m[j] for j) - sum(a2m[l]*h2m[l] for l) - sum(a2t[s]*h2t[s] for s) - sum(a3[q]*h3[q] for q)
check "(42), the bias of h3 alone": energy == sum(vm[i]^2/(2*sigma_vm[i]^2) for i)
  - sum(vm[i]/sigma_vm[i]*W1m[i,j]*h1m[j] for i, j) - sum(W2m[j,l]*h1m[j]*h2m[l] for j, l)
  - sum(W1t[k,r]*c[k]*h1t[r] for k, r) - sum(W2t[r,s]*h1t[r]*h2t[s] for r, s)
  - sum(W3m[l,q]*h2m[l]*h3[q] for l, q) - sum(W3t[s,q]*h2t[s]*h3[q] for s, q)
  - sum(a3[q]*h3[q] for q) where bm = 0, bt = 0, a1m = 0, a2m = 0, a1t = 0, a2t = 0
check "joint": p(vm, c) == sum(exp(-energy) over h1m, h2m, h1t, h2t, h3)/Z
check "joint, the first layers summed out": p(vm, c) == sum(exp(-sum((vm[i] - bm[i])^2/(2*sigma_vm[i]^2) for i)
  + sum(bt[k]*c[k] for k) + sum(a2m[l]*h2m[l] for l) + sum(a2t[s]*h2t[s] for s) + sum(a3[q]*h3[q] for q)
  + sum(W3m[l,q]*h2m[l]*h3[q] for l, q) + sum(W3t[s,q]*h2t[s]*h3[q] for s, q))
  *prod(1 + exp(a1m[j] + sum(W1m[i,j]*vm[i]/sigma_vm[i] for i) + sum(W2m[j,l]*h2m[l] for l)) for j)
  *prod(1 + exp(length(c)*a1t[r] + sum(W1t[k,r]*c[k] for k) + sum(W2t[r,s]*h2t[s] for s)) for r)
  over h2m, h2t, h3)/Z
check "h1m": p(h1m[j] = 1 | vm, h2m)
  == sigmoid(sum(W1m[i,j]*vm[i]/sigma_vm[i] for i) + sum(W2m[j,l]*h2m[l] for l) + a1m[j])
check "h1t": p(h1t[r] = 1 | c, h2t)
  == sigmoid(sum(W1t[k,r]*c[k] for k) + sum(W2t[r,s]*h2t[s] for s) + length(c)*a1t[r])
check "h2m": p(h2m[l] = 1 | h1m, h3) == sigmoid(sum(W2m[j,l]*h1m[j] for j) + sum(W3m[l,q]*h3[q] for q) + a2m[l])
check "h2t": p(h2t[s] = 1 | h1t, h3) == sigmoid(sum(W2t[r,s]*h1t[r] for r) + sum(W3t[s,q]*h3[q] for q) + a2t[s])
check "h3": p(h3[q] = 1 | h2m, h2t) == sigmoid(sum(W3m[l,q]*h2m[l] for l) + sum(W3t[s,q]*h2t[s] for s) + a3[q])
check "v": p(vm[i] | h1m) == normal(bm[i] + sigma_vm[i]*sum(W1m[i,j]*h1m[j] for j), sigma_vm[i])
check "words": p(word(c) = k | h1t) == softmax(bt[q] + sum(W1t[q,r]*h1t[r] for r) for q at k)
check "mean field, h1m": mean_field(h1m[j])
  == sigmoid(sum(W1m[i,j]*vm[i]/sigma_vm[i] for i) + sum(W2m[j,l]*h2m[l] for l) + a1m[j])
check "mean field, h1t": mean_field(h1t[r])
  == sigmoid(sum(W1t[k,r]*c[k] for k) + sum(W2t[r,s]*h2t[s] for s) + length(c)*a1t[r])
check "mean field, h2m": mean_field(h2m[l])
  == sigmoid(sum(W2m[j,l]*h1m[j] for j) + sum(W3m[l,q]*h3[q] for q) + a2m[l])
check "mean field, h2t": mean_field(h2t[s])
  == sigmoid(sum(W2t[r,s]*h1t[r] for r) + sum(W3t[s,q]*h3[q] for q) + a2t[s])
check "mean field, h3": mean_field(h3[q])
  == sigmoid(sum(W3m[l,q]*h2m[l] for l) + sum(W3t[s,q]*h2t[s] for s) + a3[q])
check "gradient, W1m": gradient(W1m[i,j]) == data(vm[i]/sigma_vm[i]*h1m[j]) - model(vm[i]/sigma_vm[i]*h1m[j])
check "gradient, W2m": gradient(W2m[j,l]) == data(h1m[j]*h2m[l]) - model(h1m[j]*h2m[l])
check "gradient, W1t": gradient(W1t[k,r]) == data(c[k]*h1t[r]) - model(c[k]*h1t[r])
check "gradient, W2t": gradient(W2t[r,s]) == data(h1t[r]*h2t[s]) - model(h1t[r]*h2t[s])
check "gradient, W3m": gradient(W3m[l,q]) == data(h2m[l]*h3[q]) - model(h2m[l]*h3[q])
check "gradient, W3t": gradient(W3t[s,q]) == data(h2t[s]*h3[q]) - model(h2t[s]*h3[q])
check "gradient, a1t": gradient(a1t[r]) == data(length(c)*h1t[r]) - model(length(c)*h1t[r])
check "E-9, without M" refuted: p(h1t[r] = 1 | c, h2t)
  == sigmoid(sum(W1t[k,r]*c[k] for k) + sum(W2t[r,s]*h2t[s] for s) + a1t[r])
check "E-9, the bias squared" refuted: energy == sum(vm[i]^2/(2*sigma_vm[i]^2) for i)
  - sum(vm[i]/sigma_vm[i]*W1m[i,j]*h1m[j] for i, j) - sum(W2m[j,l]*h1m[j]*h2m[l] for j, l)
  - sum(W1t[k,r]*c[k]*h1t[r] for k, r) - sum(W2t[r,s]*h1t[r]*h2t[s] for r, s)
  - sum(W3m[l,q]*h2m[l]*h3[q] for l, q) - sum(W3t[s,q]*h2t[s]*h3[q] for s, q)
  - sum(a3[q]*a3[q] for q) where bm = 0, bt = 0, a1m = 0, a2m = 0, a1t = 0, a2t = 0
"""

# S&H (2009) on deep machines: the equations whose indices the slides misprint.
DEEP = """model Deep(D = 3, F1 = 2, F2 = 4)
visible v  : binary[D]  bias b
hidden  h1 : binary[F1] bias a1
hidden  h2 : binary[F2] bias a2
v  -- h1 : W1
h1 -- h2 : W2
check "(11)": p(h1[j] = 1 | v, h2) == sigmoid(a1[j] + sum(W1[i,j]*v[i] for i) + sum(W2[j,m]*h2[m] for m))
check "(12)": p(h2[m] = 1 | h1) == sigmoid(a2[m] + sum(W2[j,m]*h1[j] for j))
check "(13)": p(v[i] = 1 | h1) == sigmoid(b[i] + sum(W1[i,j]*h1[j] for j))
check "E-14, (12)" refuted: p(h2[m] = 1 | h1) == sigmoid(a2[m] + sum(W2[j,m] for j)*sum(h1[j] for j))
check "the lower machine alone": p(h1[j] = 1 | v) == sigmoid(a1[j] + sum(W1[i,j]*v[i] for i)) where W2 = 0
check "the marginal": p(v) == sum(exp(-energy) over h1, h2)/Z
check "the marginal, the upper layer summed out": p(v) == sum(exp(-free_energy(v, h1)) over h1)/Z
check "two ways to sum all states": Z == sum(exp(-free_energy(h1)) over h1)
check "and the other": Z == sum(exp(-free_energy(v, h2)) over v, h2)
"""

SECTIONS = {
    "general": GENERAL,
    "no_half": NO_HALF,
    "unshared": UNSHARED,
    "binary": BINARY,
    "gaussian": GAUSSIAN,
    "documents": DOCUMENTS,
    "labels": LABELS,
    "multimodal": MULTIMODAL,
    "deep": DEEP,
    **NETS,
}
