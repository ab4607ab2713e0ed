"""Models with checks that hold, for tests of the prover; see SIZES for the sizes they are tested at."""

SPIN = """model Spin(D = 3, F = 2, G = 4)
visible v  : spin[D]    bias b
hidden  h  : spin[F]    bias a
hidden  g  : binary[G]  bias c
v -- h : W
h -- g : U
g -- v : X
check "p": p(h[j] = 1 | v, g) == sigmoid(2*a[j] + 2*sum(W[i,j]*v[i] for i) + 2*sum(U[j,k]*g[k] for k))
check "p low": p(h[j] = -1 | rest) == 1/(1 + exp(2*(a[j] + sum(W[i,j]*v[i] for i) + sum(U[j,k]*g[k] for k))))
check "p tanh": p(v[i] = 1 | h, g) == (1 + tanh(b[i] + sum(W[i,j]*h[j] for j) + sum(X[k,i]*g[k] for k)))/2
check "mf": mean_field(h[j]) == tanh(a[j] + sum(W[i,j]*v[i] for i) + sum(U[j,k]*g[k] for k))
check "F": free_energy(v, g) == -sum(b[i]*v[i] for i) - sum(c[k]*g[k] for k) - sum(X[k,i]*g[k]*v[i] for k, i)
  - sum(log(exp(a[j] + sum(W[i,j]*v[i] for i) + sum(U[j,k]*g[k] for k))
    + exp(-a[j] - sum(W[i,j]*v[i] for i) - sum(U[j,k]*g[k] for k))) for j)
check "mean": mean(g[k] | v, h) == 1/2 + tanh(c[k]/2 + sum(U[j,k]*h[j] for j)/2 + sum(X[k,i]*v[i] for i)/2)/2
"""

SQUARE = """model Square(N = 3)
visible v  : binary[N]  bias b
hidden  h  : binary[N]  bias a
hidden  g  : binary[N]  bias c
v -- h : W
h -- g : U
check "E": energy == -sum(b[i]*v[i] + a[i]*h[i] + c[i]*g[i] for i) - sum(h[j]*(W[i,j]*v[i] + U[j,i]*g[i]) for i, j)
check "h": p(h[j] = 1 | v, g) == sigmoid(a[j] + sum(W[i,j]*v[i] + U[j,i]*g[i] for i))
check "v": p(v[i] = 1 | h) == sigmoid(b[i] + sum(W[i,j]*h[j] for j))
check "mf": mean_field(g[j]) == sigmoid(c[j] + sum(U[i,j]*h[i] for i))
check "F": free_energy(h) == -sum(a[i]*h[i] for i)
  - log(prod((1 + exp(b[i] + sum(W[i,j]*h[j] for j)))*(1 + exp(c[i] + sum(U[j,i]*h[j] for j))) for i))
check "gW": gradient(W[i,j]) == data(v[i]*h[j]) - model(v[i]*h[j])
check "gU": gradient(U[i,j]) == data(g[j]*h[i]) - model(g[j]*h[i])
check "others": p(h[j] = 1 | v, g) == sigmoid(a[j] + W[j,j]*v[j] + sum(W[i,j]*v[i] for i if i != j)
  + sum(U[j,i]*g[i] for i))
"""

TIED = """model Tied(D = 3, F = 2)
visible v  : binary[D]  bias b
hidden  h  : binary[F]  bias a
hidden  g  : binary[D]  bias b
v -- h : W
h -- g : W'
check "h": p(h[j] = 1 | v, g) == sigmoid(a[j] + sum(W[i,j]*(v[i] + g[i]) for i))
check "gW": gradient(W[i,j]) == data((v[i] + g[i])*h[j]) - model((v[i] + g[i])*h[j])
check "gb": gradient(b[i]) == data(v[i] + g[i]) - model(v[i] + g[i])
check "F": free_energy(h) == -sum(a[j]*h[j] for j) - 2*sum(softplus(b[i] + sum(W[i,j]*h[j] for j)) for i)
"""

LABELS = """model Labels(D = 3, F = 2, K = 4)
visible v : binary[D]   bias b
visible y : softmax[K]  bias c
hidden  h : binary[F]   bias a
v -- h : W
y -- h : U
check "label": p(y = k | h) == softmax(c[q] + sum(U[q,j]*h[j] for j) for q at k)
check "posterior": p(y = k | v) ==
  softmax(c[q] + sum(softplus(a[j] + sum(W[i,j]*v[i] for i) + U[q,j]) for j) for q at k)
check "h": p(h[j] = 1 | v, y) == sigmoid(a[j] + sum(W[i,j]*v[i] for i) + sum(U[k,j]*y[k] for k))
check "F": free_energy(v, y) == -sum(b[i]*v[i] for i) - sum(c[k]*y[k] for k)
  - sum(softplus(a[j] + sum(W[i,j]*v[i] for i) + sum(U[k,j]*y[k] for k)) for j)
check "one": energy == -sum(b[i]*v[i] for i) - sum(a[j]*h[j] for j) - sum(W[i,j]*v[i]*h[j] for i, j)
  - sum((c[k] + sum(U[k,j]*h[j] for j))*y[k]^2 for k)
check "gU": gradient(U[k,j]) == data(y[k]*h[j]) - model(h[j]*y[k])
"""

REAL = """model Real(D = 2, F = 3, G = 2)
visible v : gaussian[G](sigma = data)  bias b
visible u : binary[D]               bias c
hidden  h : binary[F]               bias a
hidden  z : gaussian[D](sigma = 3)  bias none
v -- h : W
u -- h : X
u -- z : V
check "v": p(v[i] | h) == normal(sigma_v[i]*(b[i]/sigma_v[i] + sum(W[i,j]*h[j] for j)), sqrt(sigma_v[i]^2))
check "z": p(z[i] | u) == normal(sigma_z[i]*sum(V[d,i]*u[d] for d), sigma_z[i])
check "h": p(h[j] = 1 | v, u) == sigmoid(a[j] + sum(W[i,j]*v[i]/sigma_v[i] for i) + sum(X[d,j]*u[d] for d))
check "mf": mean_field(z[i]) == sigma_z[i]*sum(V[d,i]*u[d] for d)
check "F": free_energy(v, u) == sum((v[i]/sigma_v[i] - b[i]/sigma_v[i])^2/2 for i) - sum(c[d]*u[d] for d)
  - sum(softplus(a[j] + sum(W[i,j]*v[i]/sigma_v[i] for i) + sum(X[d,j]*u[d] for d)) for j)
  - sum(sum(V[d,i]*u[d] for d)^2 for i)/2 - sum(log(sigma_z[i]) for i) - D*log(2*pi)/2
check "gV": gradient(V[d,i]) == data(u[d]*z[i]/sigma_z[i]) - model(u[d]*z[i]/sigma_z[i])
check "gb": gradient(b[i]) == data(v[i])/sigma_v[i]^2 - model(v[i])/sigma_v[i]^2
check "slope": d(free_energy(v, u), a[j])
  == -sigmoid(a[j] + sum(W[i,j]*v[i]/sigma_v[i] for i) + sum(X[d,j]*u[d] for d))
"""

GRID = """model Grid(A = 2, B = 3, F = 2)
visible v : binary[A, B]  bias b
hidden  h : binary[F]     bias a
v -- h : W
check "h": p(h[j] = 1 | v) == sigmoid(a[j] + sum(W[r,s,j]*v[r,s] for r, s))
check "v": p(v[r,s] = 0 | h) == exp(-softplus(b[r,s] + sum(W[r,s,j]*h[j] for j)))
check "F": free_energy(v) == -sum(b[r,s]*v[r,s] for r, s) - sum(softplus(a[j] + sum(W[r,s,j]*v[r,s] for r, s)) for j)
check "gW": gradient(W[r,s,j]) == data(v[r,s]*h[j]) - model(v[r,s]*h[j])
"""

MODELS = {"spin": SPIN, "square": SQUARE, "tied": TIED, "labels": LABELS, "real": REAL, "grid": GRID}
SIZES: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    "spin": ({"D": 3, "F": 2, "G": 4}, {"D": 2, "F": 3, "G": 1}),
    "square": ({"N": 3}, {"N": 2}),
    "tied": ({"D": 3, "F": 2}, {"D": 2, "F": 3}),
    "labels": ({"D": 3, "F": 2, "K": 4}, {"D": 2, "F": 3, "K": 5}),
    "real": ({"D": 2, "F": 3, "G": 1}, {"D": 1, "F": 2, "G": 2}),
    "grid": ({"A": 2, "B": 3, "F": 2}, {"A": 3, "B": 2, "F": 1}),
    "rbm": ({"D": 3, "F": 2}, {"D": 4, "F": 3}),
    "gaussian_rbm": ({"D": 2, "F": 3}, {"D": 1, "F": 2}),
    "dbm": ({"D": 3, "F1": 2, "F2": 4}, {"D": 2, "F1": 3, "F2": 1}),
    "dbm3": ({"D": 3, "F1": 2, "F2": 4, "F3": 1}, {"D": 2, "F1": 3, "F2": 1, "F3": 4}),
    "potts": ({"N": 2, "K": 3, "F": 4}, {"N": 3, "K": 2, "F": 1}),
}
"""Models and examples by name, each with two choices of sizes, so that a sign is not lost in an even power."""
